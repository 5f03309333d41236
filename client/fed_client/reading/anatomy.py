"""Says of which part of the body a picture is, by a closed list: a head is treated with more care.

A part that is not in the list is either put down to a larger one that is, or unknown.
"""

import re

# Source: DICOM PS3.16 annex L, the terms of (0018,0015) and their SNOMED codes, those of CID 4.
_CODES: dict[str, tuple[str, ...]] = {
    "ABDOMEN": ("818981001", "113345001"),
    "ANKLE": ("70258002",),
    "ARM": ("40983000", "53120007"),
    "BRAIN": ("12738006",),
    "BREAST": ("76752008",),
    "CHEST": ("816094009", "51185008"),
    "CLAVICLE": ("51299004",),
    "CSPINE": ("122494005",),
    "ELBOW": ("16953009", "76248009"),
    "EYE": ("81745001",),
    "FACE": ("89545001", "91397008", "74386004", "13881006", "2095001"),
    "FEMUR": ("71341001",),
    "FINGER": ("7569003", "76505004"),
    "FOOT": ("56459004",),
    "FOREARM": ("14975008",),
    "HAND": ("85562004",),
    "HEAD": ("69536005", "371398005", "59066005", "361078006", "42575006", "55024004", "45289007"),
    "HEADNECK": ("774007", "110517009"),
    "HEART": ("80891009",),
    "HIP": ("29836001", "24136001"),
    "HUMERUS": ("85050009",),
    "JAW": ("661005", "91609006", "70925003", "53620006"),
    "KNEE": ("72696002", "49076000", "64234005"),
    "LEG": ("30021000", "61685007"),
    "LSPINE": ("122496007", "1217253001"),
    "NECK": ("45048000", "417437006", "416152001", "416319003", "4596009", "54019009"),
    "ORBIT": ("363654007",),
    "PELVIS": ("816092008", "12921003"),
    "RIB": ("113197003",),
    "SCAPULA": ("79601000",),
    "SHOULDER": ("16982005",),
    "SKULL": ("89546000",),
    "SPINE": ("421060004",),
    "STERNUM": ("56873002",),
    "THIGH": ("68367000",),
    "TIBIA": ("12611008",),
    "TOE": ("29707007",),
    "TSPINE": ("122495006",),
    "WHOLEBODY": ("38266002",),
    "WRIST": ("74670003",),
}
BODY_PARTS = frozenset(_CODES)
# A person can be recognised by these if the pictures make up a volume.
HEAD = frozenset({"BRAIN", "FACE", "HEAD", "HEADNECK", "JAW", "NECK", "ORBIT", "SKULL", "WHOLEBODY"})

# Other terms of annex L, and habits of scanners, for what must not pass as unknown.
_PUT_DOWN_TO: dict[str, tuple[str, ...]] = {
    "CHEST": ("THORAX", "LUNG"),
    "FACE": ("NOSE", "NASALBONE", "SINUS", "SINUSES", "PSINUS", "PARANASALSINUS", "ZYGOMA", "FACIALBONES"),
    "HEAD": (
        "CRANIUM",
        "EAR",
        "IAC",
        "MASTOID",
        "OPTICCANAL",
        "PAROTID",
        "PITUITARY",
        "SELLA",
        "TEMPORALBONE",
    ),
    "HEADNECK": ("HEADANDNECK", "NECKHEAD"),
    "JAW": ("MANDIBLE", "MAXILLA", "TMJ", "TMJOINT", "DENTAL", "TEETH", "TOOTH"),
    "NECK": ("CAROTID", "LARYNX", "THYROID", "NECKCHEST", "NECKCHESTABDOMEN", "NECKCHESTABDPELV"),
    "WHOLEBODY": ("BODY", "HEADTOTHIGH", "TOTALBODY"),
}

_PART_OF_TERM = {part: part for part in BODY_PARTS} | {
    term: part for part, terms in _PUT_DOWN_TO.items() for term in terms
}
PART_OF_CODE = {f"SCT:{code}": part for part, codes in _CODES.items() for code in codes}


def body_part(term: str, code: str) -> str:
    """Return the part named by (0018,0015) or else by a code; empty if neither is known.

    Where both are known and disagree, a head is a head.
    """
    named = _PART_OF_TERM.get(re.sub(r"[^A-Z]", "", term.upper()), "")
    coded = PART_OF_CODE.get(code, "")
    return coded if coded in HEAD and named not in HEAD else named or coded
