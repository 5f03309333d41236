"""The closed lists of words that may come out of a file; what isn't in them doesn't exist after reading."""

from pydicom import uid

# The modality follows from the class, so that free text in (0008,0060) has no way through.
# Source: DICOM PS3.3 C.7.3.1.1.1 and PS3.4 B.5.
MODALITY_OF_CLASS: dict[str, str] = {
    uid.ComputedRadiographyImageStorage: "CR",
    uid.DigitalXRayImageStorageForPresentation: "DX",
    uid.DigitalXRayImageStorageForProcessing: "DX",
    uid.DigitalMammographyXRayImageStorageForPresentation: "MG",
    uid.DigitalMammographyXRayImageStorageForProcessing: "MG",
    uid.BreastTomosynthesisImageStorage: "MG",
    uid.DigitalIntraOralXRayImageStorageForPresentation: "IO",
    uid.DigitalIntraOralXRayImageStorageForProcessing: "IO",
    uid.XRayAngiographicImageStorage: "XA",
    uid.EnhancedXAImageStorage: "XA",
    uid.XRayRadiofluoroscopicImageStorage: "RF",
    uid.EnhancedXRFImageStorage: "RF",
    uid.CTImageStorage: "CT",
    uid.EnhancedCTImageStorage: "CT",
    uid.LegacyConvertedEnhancedCTImageStorage: "CT",
    uid.MRImageStorage: "MR",
    uid.EnhancedMRImageStorage: "MR",
    uid.EnhancedMRColorImageStorage: "MR",
    uid.LegacyConvertedEnhancedMRImageStorage: "MR",
    uid.NuclearMedicineImageStorage: "NM",
    uid.PositronEmissionTomographyImageStorage: "PT",
    uid.EnhancedPETImageStorage: "PT",
    uid.LegacyConvertedEnhancedPETImageStorage: "PT",
    uid.UltrasoundImageStorage: "US",
    uid.UltrasoundMultiFrameImageStorage: "US",
    "1.2.840.10008.5.1.4.1.1.6": "US",  # retired, and still in archives
    "1.2.840.10008.5.1.4.1.1.3": "US",  # retired, multi-frame
    "1.2.840.10008.5.1.4.1.1.5": "NM",  # retired
    uid.OphthalmicPhotography8BitImageStorage: "OP",
    uid.OphthalmicPhotography16BitImageStorage: "OP",
    uid.OphthalmicTomographyImageStorage: "OPT",
    uid.VLEndoscopicImageStorage: "ES",
    uid.VLMicroscopicImageStorage: "GM",
    uid.VLSlideCoordinatesMicroscopicImageStorage: "SM",
    uid.VLWholeSlideMicroscopyImageStorage: "SM",
    uid.VLPhotographicImageStorage: "XC",
    uid.SecondaryCaptureImageStorage: "SC",
    uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage: "SC",
    uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage: "SC",
    uid.MultiFrameTrueColorSecondaryCaptureImageStorage: "SC",
}
# A picture file without a header has no class.
RASTER_MODALITY = "OT"
MODALITIES = frozenset({*MODALITY_OF_CLASS.values(), RASTER_MODALITY})

# Source: DICOM PS3.3 C.8.1.1 (CR), C.8.11.5 (DX) and CID 4014 (mammography), by their code values.
VIEWS = frozenset(
    {"AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO", "LATERAL", "OBLIQUE"}
    | {"CC", "MLO", "ML", "LM", "LMO", "SIO", "XCC", "XCCL", "XCCM"}
)
# Source: DICOM PS3.16 annex L, the defined terms for BodyPartExamined that the tasks of this project meet.
BODY_PARTS = frozenset(
    {"ABDOMEN", "ANKLE", "ARM", "BRAIN", "BREAST", "CHEST", "CLAVICLE", "CSPINE", "ELBOW", "EYE", "FACE"}
    | {"FEMUR", "FINGER", "FOOT", "FOREARM", "HAND", "HEAD", "HEADNECK", "HEART", "HIP", "HUMERUS", "JAW"}
    | {"KNEE", "LEG", "LSPINE", "NECK", "ORBIT", "PELVIS", "RIB", "SCAPULA", "SHOULDER", "SKULL", "SPINE"}
    | {"STERNUM", "THIGH", "THORAX", "TOE", "TSPINE", "TIBIA", "WRIST"}
)
# A person can be recognised by these if the pictures make up a volume.
HEAD = frozenset({"BRAIN", "FACE", "HEAD", "HEADNECK", "JAW", "NECK", "ORBIT", "SKULL"})

SYNTAX_NAMES: dict[str, str] = {
    uid.ImplicitVRLittleEndian: "implicit",
    uid.ExplicitVRLittleEndian: "explicit",
    uid.ExplicitVRBigEndian: "big-endian",
    uid.DeflatedExplicitVRLittleEndian: "deflated",
    uid.RLELossless: "rle",
    uid.JPEGBaseline8Bit: "jpeg-baseline",
    uid.JPEGExtended12Bit: "jpeg-extended",
    uid.JPEGLossless: "jpeg-lossless",
    uid.JPEGLosslessSV1: "jpeg-lossless-sv1",
    uid.JPEGLSLossless: "jpeg-ls",
    uid.JPEGLSNearLossless: "jpeg-ls-near",
    uid.JPEG2000Lossless: "jpeg-2000-lossless",
    uid.JPEG2000: "jpeg-2000",
    uid.HTJ2KLossless: "htj2k-lossless",
    uid.HTJ2KLosslessRPCL: "htj2k-lossless-rpcl",
    uid.HTJ2K: "htj2k",
}
RASTER_SYNTAXES = frozenset({"png", "jpeg"})

PHOTOMETRICS = frozenset(
    {"MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"}
    | {"YBR_PARTIAL_420"}
)
