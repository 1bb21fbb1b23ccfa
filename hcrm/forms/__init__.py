"""Questionnaires: what is asked, how answers are read, what raises a red flag.

`definition.load_questionnaires` reads `config/forms/*.yaml`, `answers.read_answers` turns what was typed into typed
answers, `scoring.raise_flags` judges them. FHIR: Questionnaire, QuestionnaireResponse.
"""
