"""Follow-up station (随访工作站): what a physician does with an instruction the centre issued."""
