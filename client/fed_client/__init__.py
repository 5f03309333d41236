"""The hospital: reads its images, keeps its budget, trains privately and answers the coordinator."""
