"""A prompt: what was learned for a task, with all that is needed to use it and to judge it.

Knows tensors and records, not models or templates: the template is its source text, answers and
objective are what their owners gave as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from softprompt.errors import PromptError
from softprompt.prompts.addition import Addition
from softprompt.prompts.card import write_card
from softprompt.prompts.folder import read_folder, write_folder
from softprompt.prompts.identity import BackboneIdentity, check_backbone
from softprompt.prompts.record import seal
from softprompt.prompts.weights import FOLDER, Weights, read_weights


@dataclass(frozen=True, eq=False)
class Prompt:
    """What `fit` returns, `save` writes and a predictor runs.

    Args:
        addition: what was learned; a float32 copy on the CPU is kept.
        method: the method's name.
        template: the template's source.
        answers: what may stand in the answer slot, as JSON.
        objective: how candidates are scored, as JSON.
        task: name, fields, kind, labels and what else the task says of itself, as JSON.
        backbone: what it was learned on; None for a foreign prompt that does not say.
        scores: one mapping per score: split, metric, value, n, data_hash, seed, selection, step.
        settings: the resolved settings of the training.
        versions: library name to version.
        examples: a few examples for the card: `text`, and if known `target` and `prediction`.
        notes: anything a reader should know, for the card.
        backbone_parameters: how many parameters the backbone has, for the card's share.
        weights: what was learned of the backbone's own weights, if that is kept.
    Raises:
        PromptError: rows that are no matrix.
    """

    addition: Addition
    method: str
    template: str
    answers: Mapping[str, Any]
    objective: Mapping[str, Any]
    task: Mapping[str, Any]
    backbone: BackboneIdentity | None = None
    scores: Sequence[Mapping[str, Any]] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    examples: Sequence[Mapping[str, Any]] = ()
    notes: str = ""
    backbone_parameters: int | None = None
    weights: Weights | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "addition", self.addition.snapshot())
        if self.weights is not None:
            settings = {**self.settings, "weights": self.weights.record()}
            object.__setattr__(self, "settings", settings)

    @property
    def rows(self) -> Tensor | None:
        """The soft rows `[P, E]`, float32, or None for a method that adds none."""
        return self.addition.rows

    @property
    def n_parameters(self) -> int:
        """How many numbers were learned."""
        kept = 0 if self.weights is None else self.weights.n_parameters
        return kept + sum(tensor.numel() for tensor in self.addition.tensors().values())

    @property
    def n_bytes(self) -> int:
        """How many bytes they take, on disk and in memory."""
        if self.weights is None:
            return 4 * self.n_parameters
        return 4 * (self.n_parameters - self.weights.n_parameters) + self.weights.n_bytes

    @property
    def content_hash(self) -> str:
        """sha256 over what determines predictions, as in `prompt.json`."""
        return str(seal(self.addition.tensors(), self._facts())["content_hash"])

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Write the prompt folder, whole or not at all.

        Args:
            folder: where; its parents are made.
            overwrite: replace the prompt that is there.
        Raises:
            PromptError: something is there already, a number is not finite, or a value is none
                that JSON can hold.
            RunError: the system refused (no space left, no permission); what was there is
                untouched.
        """
        folder = Path(folder)
        tensors = self.addition.tensors()
        record = seal(tensors, self._facts())
        card = write_card(record, folder.resolve().name)
        beside = {} if self.weights is None else self.weights.files()
        files = {f"{FOLDER}/{name}": content for name, content in beside.items()}
        write_folder(folder, tensors, record, card, overwrite=overwrite, beside=files)

    @classmethod
    def load(cls, folder: str | Path, backbone: BackboneIdentity | None = None) -> Prompt:
        """Read a prompt folder, checking all of it.

        Args:
            folder: as written by `save`.
            backbone: what it is about to run on; None to look at the prompt only.
        Raises:
            PromptError: which check failed, and what to do.
        Warns:
            UserWarning: another precision of the backbone, or a prompt that names no backbone.
        """
        folder = Path(folder)
        tensors, record = read_folder(folder)
        try:
            addition = Addition.from_tensors(tensors)
        except PromptError as error:
            raise PromptError(f"{folder}: {error}") from None
        learned_on = None
        if record["backbone"] is not None:
            learned_on = BackboneIdentity.from_json(
                record["backbone"], f"{folder}/prompt.json: backbone"
            )
        if backbone is not None:
            width = None if addition.rows is None else addition.rows.shape[1]
            check_backbone(learned_on, backbone, width, f"prompt {folder}")
        derived = ("format_version", "content_hash", "tensors")
        facts = {key: value for key, value in record.items() if key in _FACTS - set(derived)}
        kept = record["settings"].get("weights")
        weights = None if kept is None else read_weights(folder / FOLDER, kept)
        return cls(addition=addition, weights=weights, **{**facts, "backbone": learned_on})

    def _facts(self) -> dict[str, Any]:
        backbone = None if self.backbone is None else self.backbone.to_json()
        return {name: getattr(self, name) for name in _FACTS} | {"backbone": backbone}


_FACTS = frozenset(Prompt.__dataclass_fields__) - {"addition", "weights"}
