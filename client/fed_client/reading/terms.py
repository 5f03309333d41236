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
    uid.BreastProjectionXRayImageStorageForPresentation: "MG",
    uid.BreastProjectionXRayImageStorageForProcessing: "MG",
    uid.DigitalIntraOralXRayImageStorageForPresentation: "IO",
    uid.DigitalIntraOralXRayImageStorageForProcessing: "IO",
    uid.XRayAngiographicImageStorage: "XA",
    uid.EnhancedXAImageStorage: "XA",
    uid.XRay3DAngiographicImageStorage: "XA",
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
    uid.EnhancedUSVolumeStorage: "US",
    "1.2.840.10008.5.1.4.1.1.6": "US",  # retired, and still in archives
    "1.2.840.10008.5.1.4.1.1.3": "US",  # retired, multi-frame
    "1.2.840.10008.5.1.4.1.1.5": "NM",  # retired
    uid.OphthalmicPhotography8BitImageStorage: "OP",
    uid.OphthalmicPhotography16BitImageStorage: "OP",
    uid.WideFieldOphthalmicPhotographyStereographicProjectionImageStorage: "OP",
    uid.WideFieldOphthalmicPhotography3DCoordinatesImageStorage: "OP",
    uid.OphthalmicTomographyImageStorage: "OPT",
    uid.VLEndoscopicImageStorage: "ES",
    uid.VLMicroscopicImageStorage: "GM",
    uid.VLSlideCoordinatesMicroscopicImageStorage: "SM",
    uid.VLWholeSlideMicroscopyImageStorage: "SM",
    uid.VLPhotographicImageStorage: "XC",
    uid.DermoscopicPhotographyImageStorage: "DMS",
    uid.SecondaryCaptureImageStorage: "SC",
    uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage: "SC",
    uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage: "SC",
    uid.MultiFrameTrueColorSecondaryCaptureImageStorage: "SC",
}
# A picture file without a header has no class.
RASTER_MODALITY = "OT"
MODALITIES = frozenset({*MODALITY_OF_CLASS.values(), RASTER_MODALITY})

# Source: DICOM PS3.3 C.8.1.1 (CR), C.8.11.5 (DX) and C.8.11.7 (mammography), (0018,5101).
VIEWS = frozenset(
    {"AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO", "LATERAL", "OBLIQUE"}
    | {"CC", "MLO", "ML", "LM", "LMO", "SIO", "XCC", "XCCL", "XCCM"}
)
# The same as codes of (0054,0220). Source: DICOM PS3.16 CID 4010 (DX view) and CID 4014 (mammography).
VIEW_OF_CODE: dict[str, str] = {
    "SCT:399348003": "AP",
    "SCT:272479007": "PA",
    "SCT:399173006": "LL",
    "SCT:399198007": "RL",
    "SCT:399067008": "LATERAL",
    "SCT:399182000": "OBLIQUE",
    "SCT:399162004": "CC",
    "SCT:399368009": "MLO",
    "SCT:399260004": "ML",
    "SCT:399352003": "LM",
    "SCT:399099002": "LMO",
    "SCT:399188001": "SIO",
    "SCT:399192008": "XCCL",
    "SCT:399101009": "XCCM",
}

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
    | {"YBR_PARTIAL_422"}
)
