"""The other side of a comparison: PEFT as its documentation uses it, and a plain Hugging Face loop.

Batches are drawn in random order and padded to their longest row by transformers' own collator.
The loss is the model's own, on the answer's tokens. PEFT has no prompt tuning for masked language
models: the plain loop puts a parameter behind the first embedding and calls the model.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gauges import Contender
from benchmarks.speed_cases import P_TUNING, PLAIN, PREFIX, PROMPT, SORTED, Case
from benchmarks.speed_ours import RATE, Data
from softprompt.backbones.backbone import Backbone

IGNORED = -100
Row = Mapping[str, list[int]]


class SoftRowsLoop(nn.Module):
    """What a user writes for a masked model: learned rows behind [CLS], then the model as it is."""

    def __init__(self, model: Any, rows: int, count: int):
        super().__init__()
        start = model.get_input_embeddings().weight[:rows].detach()
        self.model, self.active = model, 0
        self.prompts = nn.ParameterList([nn.Parameter(start.clone()) for _ in range(count)])

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None
    ) -> Any:
        prompt = self.prompts[self.active]
        text = self.model.get_input_embeddings()(input_ids)  # [B, T, H]
        soft = prompt.expand(len(text), -1, -1)  # [B, P, H]
        if labels is not None:
            labels = _widened(labels, len(prompt), IGNORED)
        return self.model(
            inputs_embeds=torch.cat([text[:, :1], soft, text[:, 1:]], dim=1),
            attention_mask=_widened(attention_mask, len(prompt), 1),
            labels=labels,
        )


def _widened(values: Tensor, count: int, fill: int) -> Tensor:
    """Room for the learned rows behind the first column."""
    middle = values.new_full((len(values), count), fill)
    return torch.cat([values[:, :1], middle, values[:, 1:]], dim=1)


def _peft_config(rival: str, backbone: Backbone, rows: int) -> Any:
    import peft

    seq2seq = backbone.family == "encoder_decoder"
    common: dict[str, Any] = {
        "task_type": peft.TaskType.SEQ_2_SEQ_LM if seq2seq else peft.TaskType.CAUSAL_LM,
        "num_virtual_tokens": rows,
    }
    if rival == PREFIX:
        return peft.PrefixTuningConfig(**common)
    if seq2seq:  # rows in the encoder alone, as in the paper
        common["num_transformer_submodules"] = 1
    if rival == P_TUNING:
        return peft.PromptEncoderConfig(**common, encoder_hidden_size=backbone.width)
    return peft.PromptTuningConfig(**common)


def _peft(rival: str, backbone: Backbone, rows: int, count: int) -> Any:
    import peft

    config = _peft_config(rival, backbone, rows)
    model = peft.get_peft_model(backbone.model, config, adapter_name="0")  # type: ignore[arg-type]
    for number in range(1, count):
        model.add_adapter(str(number), _peft_config(rival, backbone, rows))
    model.set_adapter("0")
    return model


class Theirs:
    """A case on the same model object.

    Args:
        rival: one of the names in `speed_cases`.
        case: what is measured.
        backbone: its model is used, nothing else of it but its tokenizer.
        data: texts and answers.
    """

    def __init__(self, rival: str, case: Case, backbone: Backbone, data: Data):
        from transformers import DataCollatorForSeq2Seq

        self.name, self.case, self.data, self.backbone = rival, case, data, backbone
        self.rival = rival.removesuffix(SORTED)
        self.tokenizer = backbone.tokenizer.wrapped
        self.collate = DataCollatorForSeq2Seq(self.tokenizer, padding=True)
        if self.rival == PLAIN:
            self.model: Any = SoftRowsLoop(backbone.model, case.rows, case.prompts)
        else:
            self.model = _peft(self.rival, backbone, case.rows, case.prompts)
        self.model.to(
            backbone.device
        ).eval()  # the shapes have no dropout; P-tuning has none either

    # --- the prompt -----------------------------------------------------------------------------

    def activate(self, number: int) -> None:
        """Switch to a prompt."""
        if self.rival == PLAIN:
            self.model.active = number
        else:
            self.model.set_adapter(str(number))

    def learned(self, number: int) -> list[nn.Parameter]:
        """What is trained of a prompt."""
        if self.rival == PLAIN:
            return [self.model.prompts[number]]
        return list(self.model.prompt_encoder[str(number)].parameters())

    def put(self, number: int, rows: Tensor) -> None:
        """Give a prompt these rows (prompt tuning and the plain loop)."""
        with torch.no_grad():
            self.learned(number)[0].copy_(rows)

    # --- training -------------------------------------------------------------------------------

    def row(self, number: int, answer: str) -> Row:
        """An example with an answer, tokenised: `input_ids`, `attention_mask`, `labels`."""
        text, tokenizer = self.data.texts[number], self.tokenizer
        if self.backbone.family == "encoder_decoder":
            return {**_plain(tokenizer(text)), "labels": tokenizer(text_target=answer)["input_ids"]}
        ids = tokenizer(answer, add_special_tokens=False)["input_ids"]
        if self.backbone.family == "causal":
            row = _plain(tokenizer(f"{text} {answer}"))
            before = len(row["input_ids"]) - len(ids)
            return {**row, "labels": [IGNORED] * before + ids}
        masks = " ".join([tokenizer.mask_token] * len(ids))
        row = _plain(tokenizer(f"{text} {masks}"))
        answers = iter(ids)
        marks = [i == tokenizer.mask_token_id for i in row["input_ids"]]
        return {**row, "labels": [next(answers) if mark else IGNORED for mark in marks]}

    def gold_rows(self) -> list[Row]:
        """All examples with their own answers."""
        answers = self.data.answers
        return [self.row(n, answers[self.data.gold(n)]) for n in range(len(self.data.texts))]

    def batch(self, rows: Sequence[Row]) -> dict[str, Tensor]:
        """Padded to the longest row."""
        padded = self.collate([dict(row) for row in rows])
        return {name: tensor.to(self.backbone.device) for name, tensor in padded.items()}

    def loss_and_gradient(self, rows: Tensor, count: int) -> tuple[float, Tensor]:
        """Of the first examples under these rows, without a step."""
        self.put(0, rows)
        loss = self.model(**self.batch(self.gold_rows()[:count])).loss
        loss.backward()
        parameter = self.learned(0)[0]
        assert parameter.grad is not None
        gradient, parameter.grad = parameter.grad.clone(), None
        return float(loss.detach()), gradient

    def training(self) -> Contender:
        """An epoch of every prompt, one after the other; a unit is a step of each."""
        from transformers.trainer_pt_utils import LengthGroupedSampler

        rows, rng = self.gold_rows(), random.Random(0)
        draw = torch.Generator().manual_seed(0)
        lengths = [len(row["input_ids"]) for row in rows]
        optimisers = [
            torch.optim.AdamW(self.learned(number), lr=RATE) for number in range(self.case.prompts)
        ]

        def round() -> None:
            for number, optimiser in enumerate(optimisers):
                self.activate(number)
                order = rng.sample(range(len(rows)), len(rows))
                if self.name.endswith(SORTED):
                    order = list(
                        LengthGroupedSampler(self.case.batch, lengths=lengths, generator=draw)
                    )
                for start in range(0, len(rows), self.case.batch):
                    part = [rows[place] for place in order[start : start + self.case.batch]]
                    loss = self.model(**self.batch(part)).loss
                    loss.backward()
                    optimiser.step()
                    optimiser.zero_grad(set_to_none=True)
                    loss.item()

        return Contender(self.name, round, self.case.batches)

    # --- prediction -----------------------------------------------------------------------------

    @torch.no_grad()
    def predictions(self, prompt: int, numbers: Sequence[int]) -> Tensor:
        """The probabilities of labels, `[examples, labels]`: tokenising included."""
        self.activate(prompt)
        one = self.case.label_tokens == 1
        score: Callable[[Sequence[int]], Tensor] = self._at_once if one else self._label_by_label
        size = self.case.batch
        parts = [score(numbers[at : at + size]) for at in range(0, len(numbers), size)]
        return torch.cat([part.softmax(dim=-1).cpu() for part in parts])

    def predicting(self, groups: Mapping[int, Sequence[int]], units: int) -> Contender:
        """One pass for each prompt over its own examples."""

        def round() -> None:
            for prompt, numbers in groups.items():
                self.predictions(prompt, numbers).argmax(dim=-1).tolist()

        return Contender(self.name, round, units)

    def _at_once(self, numbers: Sequence[int]) -> Tensor:
        """Labels of one token: one forward pass, read off at one position."""
        family, tokenizer = self.backbone.family, self.tokenizer
        after = f" {tokenizer.mask_token}" if family == "masked" else ""
        texts = [self.data.texts[number] + after for number in numbers]
        given = tokenizer(texts, padding=True, return_tensors="pt").to(self.backbone.device)
        given.pop("token_type_ids", None)
        rows = torch.arange(len(texts), device=self.backbone.device)
        if family == "encoder_decoder":
            start: Any = self.backbone.config
            begun = torch.full_like(rows, start.decoder_start_token_id)[:, None]
            logits = self.model(**given, decoder_input_ids=begun).logits[:, 0]
        else:
            logits = self.model(**given).logits
            added = logits.shape[1] - given["input_ids"].shape[1]  # learned rows in front
            at = given["attention_mask"].sum(dim=1) - 1
            if family == "masked":
                at = (given["input_ids"] == tokenizer.mask_token_id).int().argmax(dim=1)
            logits = logits[rows, at + added]
        return logits[:, self._label_ids()]

    def _label_ids(self) -> list[int]:
        answers = list(self.data.answers)
        rows = self.tokenizer(answers, add_special_tokens=False)["input_ids"]
        return [ids[0] for ids in rows]

    def _label_by_label(self, numbers: Sequence[int]) -> Tensor:
        """Labels of several tokens: one forward pass for each label, `[B, L]`."""
        columns = []
        for answer in self.data.answers:
            given = self.batch([self.row(number, answer) for number in numbers])
            labels = given["labels"]
            if self.backbone.family != "encoder_decoder":
                del given["labels"]
            logits = self.model(**given).logits
            if self.backbone.family == "causal":
                logits, labels = logits[:, :-1], labels[:, 1:]
            logits = logits[:, logits.shape[1] - labels.shape[1] :]
            rows, places = torch.nonzero(labels != IGNORED, as_tuple=True)
            log_p = logits[rows, places].log_softmax(dim=-1)
            wanted = log_p.gather(1, labels[rows, places][:, None])[:, 0]
            zeros = torch.zeros(len(labels), device=wanted.device)
            columns.append(zeros.index_add(0, rows, wanted))
        return torch.stack(columns, dim=1)


def _plain(given: Mapping[str, list[int]]) -> dict[str, list[int]]:
    return {name: given[name] for name in ("input_ids", "attention_mask")}


SAME_FUNCTION = MappingProxyType({PROMPT: True, PLAIN: True, P_TUNING: False, PREFIX: False})
"""Whether a rival computes what ours does, so that losses and gradients can be compared."""
