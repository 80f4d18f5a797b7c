"""What the quickstart says, in English and in Chinese; one entry per language.

Adding a language: an entry in WORDS, and sentences for its data sets in SENTENCES.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Words:
    """The sentences of one language; {…} is filled in.

    `candidates` has one for each family of backbones; `decoder` and `ways` are of an encoder-decoder.
    """

    greeting: str
    loading: str
    backbone: str
    data: str
    sees: str
    decoder: str
    candidates: Mapping[str, str]
    zero_shot: str
    training: str
    results: str
    predictions: str
    nearest: str
    caveat: str
    saved: str
    next_steps: str
    head: tuple[str, str, str]
    rows: Mapping[str, str]
    ways: str
    ways_head: tuple[str, str, str, str]
    colon: str


WORDS: Mapping[str, Words] = MappingProxyType(
    {
        "en": Words(
            greeting="Prompt tuning: a language model stays frozen, a few rows in front of its input "
            "are learned.",
            loading="loading {backbone} …",
            backbone="{backbone}: {parameters} parameters, frozen. To be learned: {rows} rows of "
            "width {width} = {learned} numbers ({share}).",
            data="Some rows of {task} ({train} to learn from, {dev} for dev, {test} for test):",
            sees="What the model sees; [P1] … [P{rows}] are learned, everything else stays:",
            decoder="The decoder goes on from: {begun}",
            candidates=MappingProxyType(
                {
                    "masked": "Read at the answer slot: {words}",
                    "causal": "Compared as what comes next: {words}",
                    "encoder_decoder": "Compared as the decoder's answer: {words}",
                }
            ),
            zero_shot="Without learned rows (zero-shot): dev {dev}, test {test}",
            training="Learning for {steps} steps of {batch} examples:",
            results="Accuracy (the kept step is the best on dev; test was not looked at before):",
            predictions="The learned prompt on new sentences:",
            nearest="The vocabulary words nearest to the first learned rows (cosine):",
            caveat="Neighbours describe where a row lies; they do not explain what it does "
            "(Khashabi et al. 2022).",
            saved="Saved in {folder}: the prompt ({size}), metrics, predictions, a picture and "
            "report.md. {time}.",
            next_steps="Next:",
            head=("", "dev ({dev})", "test ({test})"),
            rows=MappingProxyType(
                {
                    "prompt": "learned prompt",
                    "zero": "zero-shot",
                    "words": "bag of words",
                    "majority": "majority class",
                }
            ),
            ways="Two ways to ask the decoder (test): rank compares the words; greedy lets it write, "
            "and what is none of the words is illegal:",
            ways_head=("", "rank accuracy", "greedy accuracy", "illegal outputs"),
            colon=": ",
        ),
        "zh": Words(
            greeting="提示微调：语言模型保持冻结，只学习输入前面的几行向量。",
            loading="正在加载 {backbone} …",
            backbone="{backbone}：{parameters} 个参数，全部冻结。要学习的只有 {rows} 行、宽 {width} 的"
            "向量，共 {learned} 个数（{share}）。",
            data="{task} 中的几条数据（训练 {train} 条，验证 {dev} 条，测试 {test} 条）：",
            sees="模型看到的输入；[P1] … [P{rows}] 是学到的向量，其余都不变：",
            decoder="解码器从这里接着写：{begun}",
            candidates=MappingProxyType(
                {
                    "masked": "在答案位置读取的词：{words}",
                    "causal": "比较接下来是哪个词：{words}",
                    "encoder_decoder": "比较解码器回答的是哪个词：{words}",
                }
            ),
            zero_shot="没有学到的向量时（零样本）：验证 {dev}，测试 {test}",
            training="学习 {steps} 步，每步 {batch} 条：",
            results="准确率（保留验证集上最好的一步；在此之前没有看过测试集）：",
            predictions="用学到的提示判断新句子：",
            nearest="词表中离前几行向量最近的词（余弦）：",
            caveat="近邻只说明一行向量在哪里，并不解释它做了什么（Khashabi 等，2022）。",
            saved="已保存在 {folder}：提示（{size}）、指标、预测、曲线图和 report.md。用时 {time}。",
            next_steps="接下来可以：",
            head=("", "验证（{dev}）", "测试（{test}）"),
            rows=MappingProxyType(
                {
                    "prompt": "学到的提示",
                    "zero": "零样本",
                    "words": "词袋模型",
                    "majority": "多数类",
                }
            ),
            ways="解码器的两种作答方式（测试）：排序是比较各个词；贪心是让它自己写，写出的不是其中任何一个词"
            "就算非法：",
            ways_head=("", "排序准确率", "贪心准确率", "非法输出"),
            colon="：",
        ),
    }
)

SENTENCES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "softprompt/reviews-en": (
            "The lamp is solid, bright and easy to set up.",
            "It broke on the second day and nobody answered my emails.",
            "The acting is fine, but the story goes nowhere and I left early.",
        ),
        "softprompt/reviews-zh": (
            "灯很结实，亮度也够，安装特别方便。",
            "用了两天就坏了，客服一直不回复。",
            "特效很棒，但剧情糟糕，看到一半就走了。",
        ),
        "softprompt/topics-en": (
            "The striker scored twice in the last ten minutes.",
            "The central bank kept its interest rate unchanged.",
            "Simmer the beans with garlic until they are soft.",
        ),
        "softprompt/topics-zh": (
            "前锋在最后十分钟里连进两球。",
            "央行宣布利率维持不变。",
            "豆子加蒜小火慢炖，炖到软烂为止。",
        ),
    }
)
