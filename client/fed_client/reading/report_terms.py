"""The codes by which a report says that something is a finding, is there, isn't there, or is elsewhere.

Sources: DICOM PS3.16 CID 7001 and 7002 (headings and elements of a diagnostic imaging report), CID 230, 240,
250 and 3770 (yes, present, positive, context), TID 1500 and 1501 (measurement reports); SNOMED CT, LOINC and
RadLex for what DICOM takes from them. Codes of SNOMED RT arrive here as SNOMED CT.
"""

# The value of an item with such a concept is a finding.
FINDING = frozenset(
    {
        "DCM:121071",  # finding
        "DCM:121073",  # impression
        "DCM:121077",  # conclusion
        "LN:29308-4",  # diagnosis
        "SCT:439401001",  # diagnosis
        "SCT:282291009",  # diagnosis interpretation
    }
)
MEASUREMENT_GROUP = "DCM:125007"
QUALITATIVE_EVALUATIONS = "UMLS:C0034375"
# Under such a heading also a question may be the finding, if the answer is "present".
REPORTING = frozenset(
    {
        MEASUREMENT_GROUP,
        QUALITATIVE_EVALUATIONS,
        "DCM:126010",  # imaging measurements
        "LN:59776-5",  # findings
        "DCM:121070",  # findings
        "LN:19005-8",  # impressions
        "DCM:121072",  # impressions
        "LN:55110-1",  # conclusions
        "DCM:121076",  # conclusions
        "LN:55112-7",  # summary
    }
)
# What stands under these is about the past, the request, what to do or what else it could be.
ELSEWHERE = frozenset(
    {
        "LN:18834-2",  # previous findings
        "DCM:121068",  # previous findings
        "DCM:121069",  # previous finding
        "LN:55114-3",  # prior procedure descriptions
        "DCM:121066",  # prior procedure descriptions
        "LN:11329-0",  # history
        "DCM:121060",  # history
        "LN:18785-6",  # indications for procedure
        "DCM:121109",  # indications for procedure
        "LN:55115-0",  # request
        "DCM:121062",  # request
        "LN:55108-5",  # patient presentation
        "DCM:121110",  # patient presentation
        "LN:55752-0",  # clinical information
        "LN:18783-1",  # recommendations
        "DCM:121074",  # recommendations
        "DCM:121075",  # recommendation
        "DCM:111023",  # differential diagnosis
        "DCM:111028",  # image library: a list of images, TID 1600
    }
)

PRESENT = frozenset(
    {
        "SCT:52101004",  # present
        "DCM:121053",  # present
        "RADLEX:RID28472",  # present
        "SCT:373066001",  # yes
        "SCT:10828004",  # positive
        "SCT:410515003",  # known present
    }
)
ABSENT = frozenset(
    {
        "SCT:272519000",  # absent, DICOM's choice
        "SCT:2667000",  # absent, the qualifier value
        "DCM:121054",  # absent
        "RADLEX:RID28473",  # absent
        "SCT:373067005",  # no
        "SCT:260385009",  # negative
        "SCT:410516002",  # known absent
    }
)
# Neither: what isn't known, and what was there once.
UNCERTAIN = frozenset(
    {
        "SCT:373068000",  # undetermined
        "SCT:415684004",  # suspected
        "SCT:42425007",  # equivocal
        "SCT:64957009",  # uncertain
        "SCT:261665006",  # unknown
        "SCT:394775005",  # inactive problem
        "SCT:413322009",  # problem resolved
    }
)
# Concepts that ask whether the finding next to them is there.
ASKS_PRESENCE = frozenset(
    {
        "SCT:705057003",  # presence
        "SCT:408729009",  # finding context
        "DCM:111012",  # certainty of finding
        "DCM:111013",  # certainty of impression
    }
)
# These say that nothing was found; of a part of the body, said by a finding site, that isn't the whole image.
NORMAL = frozenset(
    {
        "SCT:17621005",  # normal
        "SCT:281900007",  # no abnormality detected
        "DCM:111286",  # no abnormality
    }
)
FINDING_SITE = "SCT:363698007"
