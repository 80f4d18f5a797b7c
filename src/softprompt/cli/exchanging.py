"""`softprompt import` and `softprompt export`: prompts from and to other toolkits' files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from softprompt.cli.binding import Asked, bound
from softprompt.cli.console import say, warn
from softprompt.cli.using import BackboneName, Device, load_prompt
from softprompt.errors import PromptError, SettingsError

if TYPE_CHECKING:
    from softprompt.backbones.backbone import Backbone
    from softprompt.prompts.peft_folder import PeftPrefix, PeftRows
    from softprompt.prompts.prompt import Prompt


def add_to(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command("import")(import_prompt)
    app.command("export")(export_prompt)


def import_prompt(
    source: Annotated[Path, typer.Argument(help="A .npy file, or a PEFT folder.")],
    out: Annotated[Path, typer.Option("--out", help="The prompt folder to write.")],
    backbone: BackboneName = None,
    task: Annotated[
        str | None, typer.Option("--task", help="A task's name, or a run file with its task.")
    ] = None,
    template: Annotated[
        str | None, typer.Option("--template", help="What it was learned with; else the task's.")
    ] = None,
    word: Annotated[
        list[str] | None,
        typer.Option("--word", metavar="LABEL=WORD", help="A label's word; repeatable."),
    ] = None,
    number: Annotated[
        int | None,
        typer.Option("--number", min=0, help="Of a multitask PEFT folder: which task, from 0."),
    ] = None,
    device: Device = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the prompt at --out.")
    ] = False,
) -> None:
    """Make a prompt of rows that were learned elsewhere.

    Rows know no text: say what stood around the input when they were learned, and which words stood
    for the labels. What softprompt exported remembers both.

    \b
    softprompt import sst2.npy --backbone google/t5-base-lm-adapt --out prompts/sst2
      --template "sentence: {text}" --word negative=negative --word positive=positive
    softprompt import peft-folder --backbone gpt2 --task softprompt/reviews-en --out prompts/mood
    """
    from softprompt.prompts.npy import is_npy
    from softprompt.prompts.peft_folder import is_peft_folder

    if source.is_file() and is_npy(source):
        if number is not None:
            raise SettingsError(f"--number: {source} holds one prompt, expected a PEFT folder")
        prompt = _from_npy(source, backbone, device, Asked(task, template, word))
    elif source.is_dir() and is_peft_folder(source):
        prompt = _from_peft(source, number, backbone, device, Asked(task, template, word))
    else:
        found = "no such file or folder" if not source.exists() else "it is neither"
        raise PromptError(
            f"{source}: expected a .npy file or a PEFT folder (adapter_config.json), {found}"
        )
    prompt.save(out, overwrite=overwrite)
    say(f"saved: {out}")


def export_prompt(
    prompt: Annotated[Path, typer.Argument(help="A prompt folder, or a run folder.")],
    out: Annotated[Path, typer.Option("--out", help="The folder (peft) or file (npy) to write.")],
    to: Annotated[str, typer.Option("--to", help="peft, or npy for the bare rows.")] = "peft",
    backbone: BackboneName = None,
    device: Device = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the export at --out.")
    ] = False,
) -> None:
    """Write a prompt in another toolkit's form.

    PEFT has an equivalent for rows in front of a causal or encoder-decoder backbone's input, and for keys
    and values of a causal one; anything else is refused, with the reason.

    \b
    softprompt export runs/mood/prompt --to peft --out mood-peft
    softprompt export runs/mood/prompt --to npy --out mood.npy
    """
    if to not in ("peft", "npy"):
        raise SettingsError(f"--to {to}: expected peft or npy")
    if to == "npy":
        from softprompt.cli.using import prompt_folder
        from softprompt.prompts.npy import write_npy_prompt
        from softprompt.prompts.prompt import Prompt

        loaded = Prompt.load(prompt_folder(prompt))
        if loaded.rows is None or set(loaded.addition.tensors()) != {"rows"}:
            raise PromptError(
                f"{prompt}: a .npy file holds learned rows alone; it has others, or none"
            )
        write_npy_prompt(loaded.rows, out, overwrite)
        say(f"saved: {out}, {loaded.rows.shape[0]} rows of width {loaded.rows.shape[1]}")
        return
    from softprompt.prompts.peft_export import PeftBase, write_peft_folder

    loaded, model = load_prompt(prompt, backbone, device)
    config = model.config
    base = PeftBase(
        start=model.rows(model.tokenizer.start).cpu(),
        layers=getattr(config, "num_hidden_layers", None),
        heads=getattr(config, "num_attention_heads", None),
        scale=model.traits.scale,
    )
    made = write_peft_folder(loaded, base, out, overwrite=overwrite)
    length, width = made.tensor.shape
    kind = "rows of width" if loaded.rows is not None else "keys and values, all layers of width"
    say(f"saved: {out}, {length} {kind} {width}")
    if made.start_rows:
        say(
            f"The first {made.start_rows} stand for the tokenizer's start tokens: tokenise without them "
            "(see README.md there)."
        )
    say(f"PEFT knows no template; it was learned with: {loaded.template}")


def _from_npy(source: Path, backbone: str | None, device: str | None, asked: Asked) -> Prompt:
    from softprompt.prompts.addition import Addition
    from softprompt.prompts.npy import read_npy_prompt

    model = _load(source, backbone, device)
    rows = read_npy_prompt(source, model.width)
    return bound(source, Addition(rows), model, asked, "prompt_tuning", ())


def _from_peft(
    source: Path, number: int | None, backbone: str | None, device: str | None, asked: Asked
) -> Prompt:
    from softprompt.prompts.peft_export import exported_prompt
    from softprompt.prompts.peft_folder import PeftPrefix, read_peft_folder

    found = read_peft_folder(source, number)
    for note in found.notes:
        say(f"note: {note}")
    own = exported_prompt(source, found) if asked.nothing else None
    if own is None:
        model = _load(source, backbone, device)
        if isinstance(found, PeftPrefix):
            return _from_prefix(source, found, model, asked)
        return _from_foreign(source, found, model, asked)
    if backbone is not None:
        from softprompt.prompts.identity import check_backbone

        model = _load(source, backbone, device)
        check_backbone(
            own.backbone, model.identity, len(own.rows[0]) if own.rows is not None else None
        )
    say("an export of softprompt: template, answers and backbone are its own")
    return own


def _from_foreign(source: Path, found: PeftRows, model: Backbone, asked: Asked) -> Prompt:
    """Rows of PEFT's own making; it puts them before the start tokens."""
    from softprompt.prompts.addition import Addition

    _check_family(source, found, model)
    if found.rows.shape[1] != model.width:
        raise PromptError(
            f"{source} has rows of width {found.rows.shape[1]}, '{model.name}' takes rows of width "
            f"{model.width}: it was learned on another backbone"
        )
    addition = Addition(found.rows)
    return bound(source, addition, model, asked, found.peft_type.lower(), found.notes, before=True)


def _from_prefix(source: Path, found: PeftPrefix, model: Backbone, asked: Asked) -> Prompt:
    """Keys and values of each layer of a causal backbone, where they count as positions there too."""
    from softprompt.backbones.attended import Shape
    from softprompt.prompts.addition import Addition

    _check_family(source, found, model)
    if found.family != "causal":
        raise PromptError(
            f"{source}: {found.peft_type} of an encoder-decoder counts its keys as positions of the "
            "decoder, which learned keys are not here; expected one of a causal backbone"
        )
    layers, _, _, heads, width = found.states.shape
    there = model.attentions.shapes["self"]
    if there != Shape(layers, heads, width):
        raise PromptError(
            f"{source} has keys of {layers} layers × {heads} heads × {width}, '{model.name}' takes "
            f"{there.layers} × {there.heads} × {there.width}: it was learned on another backbone"
        )
    notes = list(found.notes)
    if getattr(model.config, "sliding_window", None):
        notes.append("PEFT lets a sliding window pass over these keys; here they are always read.")
        say(f"note: {notes[-1]}")
    addition = Addition(None, {"self": found.states})
    return bound(source, addition, model, asked, found.peft_type.lower(), tuple(notes))


def _check_family(source: Path, found: PeftRows | PeftPrefix, model: Backbone) -> None:
    """Refuse another family; warn of another name.

    Raises:
        PromptError: it is for another family.
    """
    if model.family != found.family:
        raise PromptError(
            f"{source} is for a {found.family.replace('_', '-')} backbone, '{model.name}' is a "
            f"{model.family.replace('_', '-')} one"
        )
    name = found.base_model
    if (
        name is not None
        and name.rstrip("/").split("/")[-1] != model.name.rstrip("/").split("/")[-1]
    ):
        warn(
            f"{source} says that it was learned on '{name}', here it is bound to '{model.name}'; on "
            "other weights it is noise"
        )


def _load(source: Path, backbone: str | None, device: str | None) -> Backbone:
    from softprompt.backbones.loading import load_backbone

    if backbone is None:
        raise SettingsError(f"{source} is not bound to any weights; give --backbone")
    return load_backbone(backbone, device=device)
