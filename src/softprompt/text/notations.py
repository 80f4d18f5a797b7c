"""Templates from elsewhere: the notations of LM-BFF, OpenPrompt and PET, read into a Template."""

from softprompt.text.lm_bff import from_lm_bff, read_lm_bff_label_mapping, read_lm_bff_templates
from softprompt.text.openprompt import from_openprompt
from softprompt.text.pet import from_pet

__all__ = [
    "from_lm_bff",
    "from_openprompt",
    "from_pet",
    "read_lm_bff_label_mapping",
    "read_lm_bff_templates",
]
