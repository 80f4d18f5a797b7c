"""A backbone with a prompt's own weights on, for as long as it predicts, and as before afterwards.

For prompts of methods that train weights (LoRA, adapters, full tuning). Their network is another one,
so they share no batch with other prompts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from softprompt.backbones.backbone import Backbone
from softprompt.errors import PromptError, SettingsError
from softprompt.methods.opened_weights import WeightTuning
from softprompt.methods.registry import METHODS
from softprompt.prompts.prompt import Prompt


@contextmanager
def worn(backbone: Backbone, prompt: Prompt) -> Iterator[None]:
    """Within the block the backbone has the prompt's weights on; nothing happens if it has none.

    Raises:
        PromptError: the weights are not those that its method trains on this backbone.
    """
    if prompt.weights is None:
        if prompt.settings.get("opened_weights"):
            raise PromptError(
                f"the weights that '{prompt.method}' trained were not kept; train it with "
                "training.keep_weights=true"
            )
        yield
        return
    kind = METHODS.get(prompt.method)
    if kind is None or not issubclass(kind, WeightTuning):
        raise PromptError(
            f"this prompt has weights of the method '{prompt.method}', which is not known here as one "
            "that trains weights; another version of softprompt may have written it"
        )
    try:
        method = kind.read(prompt.settings.get("method", {}), "the prompt's settings.method")
    except SettingsError as error:
        raise PromptError(str(error)) from None
    with method.wearing(backbone, prompt.weights.tensors):
        yield
