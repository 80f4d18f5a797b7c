"""One frozen language model, many tasks, each learned as a prompt of some 100 KB.

    import softprompt as sp

    backbone = sp.load_backbone("softprompt/tiny-mlm")
    task = sp.load_task("softprompt/reviews-en")
    run = sp.fit(backbone, task, sp.PromptTuning(length=20), seed=0)
    run.prompt.save("prompts/reviews")
    sp.Predictor(backbone, "prompts/reviews").predict(["a lovely film"])

Names are handed on when they are first asked for, so that importing this costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from softprompt.analysis.baselines import bag_of_words, majority
    from softprompt.analysis.neighbours import nearest_words
    from softprompt.backbones.backbone import Backbone
    from softprompt.backbones.loading import load_backbone
    from softprompt.backbones.shipped import shipped_models
    from softprompt.data.examples import Example
    from softprompt.data.mixture import mix_tasks
    from softprompt.data.registry import load_task
    from softprompt.data.task import Task
    from softprompt.data.tasks.patterns import patterns_of
    from softprompt.errors import SoftpromptError, UsageError
    from softprompt.inference.drawn import DemonstrationSettings
    from softprompt.inference.evaluate import Evaluation, evaluate
    from softprompt.inference.objective import ObjectiveSettings
    from softprompt.inference.predict import Prediction
    from softprompt.inference.predictor import Predictor
    from softprompt.methods.adapters import Adapters
    from softprompt.methods.bitfit import BitFit
    from softprompt.methods.classification_head import ClassificationHead
    from softprompt.methods.dept import Dept
    from softprompt.methods.full_tuning import FullTuning
    from softprompt.methods.ia3 import Ia3
    from softprompt.methods.linear_probe import LinearProbe
    from softprompt.methods.lora import Lora
    from softprompt.methods.method import Method
    from softprompt.methods.mpt import Mpt
    from softprompt.methods.p_tuning import PTuning
    from softprompt.methods.p_tuning_v2 import PTuningV2
    from softprompt.methods.prefix_tuning import PrefixTuning
    from softprompt.methods.prompt_design import PromptDesign
    from softprompt.methods.prompt_tuning import PromptTuning
    from softprompt.methods.residual import ResidualPromptTuning
    from softprompt.methods.spot import Spot
    from softprompt.methods.superpos import SuperPos
    from softprompt.methods.ulpt import Ulpt
    from softprompt.methods.warp import Warp
    from softprompt.methods.wayward import Wayward
    from softprompt.pretraining.run import pretrain
    from softprompt.pretraining.settings import PretrainSettings
    from softprompt.prompts.prompt import Prompt
    from softprompt.recipes.run_file import read_run
    from softprompt.recipes.schema import RunSettings
    from softprompt.recipes.train import train
    from softprompt.text.answers import FreeText, OwnCandidates, Poles, Verbalizer
    from softprompt.text.rendering import RenderSettings
    from softprompt.text.template import Template
    from softprompt.text.template import parse as parse_template
    from softprompt.tuning.optimisers import OptimiserSettings
    from softprompt.tuning.run import Job, Run, fit, fit_many
    from softprompt.tuning.settings import TrainingSettings

__version__ = "0.1.0"

_HOMES = {
    "Adapters": "methods.adapters",
    "BitFit": "methods.bitfit",
    "Ia3": "methods.ia3",
    "Lora": "methods.lora",
    "Backbone": "backbones.backbone",
    "ClassificationHead": "methods.classification_head",
    "DemonstrationSettings": "inference.drawn",
    "Dept": "methods.dept",
    "Evaluation": "inference.evaluate",
    "Example": "data.examples",
    "FreeText": "text.answers",
    "FullTuning": "methods.full_tuning",
    "Job": "tuning.run",
    "LinearProbe": "methods.linear_probe",
    "Method": "methods.method",
    "Mpt": "methods.mpt",
    "ObjectiveSettings": "inference.objective",
    "OptimiserSettings": "tuning.optimisers",
    "OwnCandidates": "text.answers",
    "PTuning": "methods.p_tuning",
    "PTuningV2": "methods.p_tuning_v2",
    "PrefixTuning": "methods.prefix_tuning",
    "Poles": "text.answers",
    "Prediction": "inference.predict",
    "Predictor": "inference.predictor",
    "PretrainSettings": "pretraining.settings",
    "Prompt": "prompts.prompt",
    "PromptDesign": "methods.prompt_design",
    "PromptTuning": "methods.prompt_tuning",
    "RenderSettings": "text.renderer",
    "ResidualPromptTuning": "methods.residual",
    "Run": "tuning.run",
    "RunSettings": "recipes.schema",
    "SoftpromptError": "errors",
    "Spot": "methods.spot",
    "SuperPos": "methods.superpos",
    "Task": "data.task",
    "Template": "text.template",
    "TrainingSettings": "tuning.settings",
    "Ulpt": "methods.ulpt",
    "Warp": "methods.warp",
    "Wayward": "methods.wayward",
    "UsageError": "errors",
    "Verbalizer": "text.answers",
    "bag_of_words": "analysis.baselines",
    "evaluate": "inference.evaluate",
    "fit": "tuning.run",
    "fit_many": "tuning.run",
    "load_backbone": "backbones.loading",
    "load_task": "data.registry",
    "majority": "analysis.baselines",
    "mix_tasks": "data.mixture",
    "nearest_words": "analysis.neighbours",
    "parse_template": "text.template",
    "patterns_of": "data.tasks.patterns",
    "pretrain": "pretraining.run",
    "read_run": "recipes.run_file",
    "shipped_models": "backbones.shipped",
    "train": "recipes.train",
}
_ELSEWHERE = {"parse_template": "parse"}

__all__ = [
    "Adapters",
    "Backbone",
    "BitFit",
    "ClassificationHead",
    "DemonstrationSettings",
    "Dept",
    "Evaluation",
    "Example",
    "FreeText",
    "FullTuning",
    "Ia3",
    "Job",
    "LinearProbe",
    "Lora",
    "Method",
    "Mpt",
    "ObjectiveSettings",
    "OptimiserSettings",
    "OwnCandidates",
    "PTuning",
    "PTuningV2",
    "Poles",
    "Prediction",
    "Predictor",
    "PrefixTuning",
    "PretrainSettings",
    "Prompt",
    "PromptDesign",
    "PromptTuning",
    "RenderSettings",
    "ResidualPromptTuning",
    "Run",
    "RunSettings",
    "SoftpromptError",
    "Spot",
    "SuperPos",
    "Task",
    "Template",
    "TrainingSettings",
    "Ulpt",
    "UsageError",
    "Verbalizer",
    "Warp",
    "Wayward",
    "__version__",
    "bag_of_words",
    "evaluate",
    "fit",
    "fit_many",
    "load_backbone",
    "load_task",
    "majority",
    "mix_tasks",
    "nearest_words",
    "parse_template",
    "patterns_of",
    "pretrain",
    "read_run",
    "shipped_models",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'softprompt' has no attribute {name!r}")
    value = getattr(import_module(f"softprompt.{_HOMES[name]}"), _ELSEWHERE.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
