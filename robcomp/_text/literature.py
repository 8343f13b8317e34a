"""What others say: sentences that can be put to the test, and figures to stand beside our own."""

from __future__ import annotations

import pandas as pd


def _table(text: str, names: str) -> pd.DataFrame:
    """A line per row, cells between bars."""
    lines = [[part.strip() for part in line.split("|")] for line in text.strip().splitlines()]
    return pd.DataFrame(lines, columns=names.split())


# How a source is called in `CLAIMS` below, and how a page names it
_SOURCES = (
    _table(
        """
CARDs | CARDs, Diffenderfer et al. 2021, arXiv 2106.09129
Liebenwein | Lost in Pruning, Liebenwein et al. 2021, arXiv 2103.03014
Shen | Shen et al. 2024, arXiv 2401.12014
Hooker | Hooker et al. 2019, arXiv 1911.05248
Hooker twice | Hooker et al. 2019 and 2020, arXiv 1911.05248 and 2010.03058
RobustMQ | RobustMQ, Xiao et al. 2023, arXiv 2308.02350
Timpl | Timpl et al. 2022, arXiv 2206.10915
Mitra | Mitra et al. 2024, arXiv 2405.20876
Hoffmann | Hoffmann et al. 2021
Holste | Holste et al. 2023, arXiv 2308.09180
TensorFlow | TensorFlow model optimization guide
Shabir | Shabir et al. 2025
2202.09275 | arXiv 2202.09275
2511.19794 | arXiv 2511.19794
Alves | Alves Da Silva et al. 2025, arXiv 2512.24971
control | the control that arXiv 2512.24971 lacks
""",
        "short source",
    )
    .set_index("short")
    .source
)

CLAIMS = _table(
    """
C1a | CARDs | pruning by lottery-ticket rewinding reaches the robustness of the dense network or more
C1b | CARDs | pruning with fine-tuning is less robust than dense
C2a | Liebenwein | pruned networks lose more accuracy on corrupted images than on clean ones
C2b | Liebenwein | how much can be pruned depends on the task: some corruption takes more than the average one
C3a | Shen | compressed networks are less robust than dense
C3b | Shen | larger networks lose more by compression, at equal size too
C3c | Shen | distilled networks are more robust than pruned ones
C3d | Shen | of compressions without training, eight bits keep more robustness than pruning
C3e | Shen | eight bits lose little robustness
C3f | Shen | eight bits make about a quarter of the size
C4a | Hooker | at equal accuracy, some classes lose more than others
C4b | Hooker twice | at equal accuracy, compressed and dense disagree most on corrupted images
C5a | RobustMQ | quantized networks are less robust to natural corruption than dense
C5b | RobustMQ | the fewer bits, the less robust
C5c | RobustMQ | impulse noise and glass blur cost quantized networks more accuracy than the average corruption
C5d | RobustMQ | brightness costs quantized networks the least accuracy
C6 | Timpl | robustness falls with capacity and not with sparsity: sparse networks of equal capacity match dense
C7a | Mitra | pruning improves robustness to corruption
C7b | Mitra | pruning improves calibration
C8 | Hoffmann | unstructured pruning keeps more robustness than distillation
C9 | Holste | pruning forgets rare classes first
C10a | TensorFlow | clustering that quantization-aware training preserves costs no accuracy
C10b | TensorFlow | clustering makes the int8 file a third smaller or more (3.00 to 1.94 MB)
C10c | TensorFlow | half the weights pruned makes the zipped int8 file 37 % smaller or more
C11 | Shabir | pruning and int8 make MobileNet 77 % smaller or more
C12 | 2202.09275 | a Pareto front is random: other test images would draw another one
C13 | 2511.19794 | with three seeds, differences of a point are never significant
H1a | Alves | certain strategies preserve robustness
H1b | Alves | certain strategies improve robustness
H1c | control | some compressed network is more robust than the dense network with the same number of extra epochs
H2 | Alves | the more complex the architecture, the better it keeps its robustness
H3a | Alves | combinations stand on the front of clean accuracy, robust accuracy and size
H3b | Alves | multi-objective assessment chooses a combination
H3c | Alves | within a budget of bytes, the best combined recipe is more robust than the best single technique
""",
    "claim source statement",
).replace(dict(source=_SOURCES.to_dict()))

PUBLISHED = (
    _table(
        """
cifar10 | WRN-28-10, standard | .9478 | .7346 |
cifar10 | WRN-40-2, AugMix | .9508 | .8882 |
cifar10 | ResNeXt-29, AugMix | .9583 | .8909 |
cifar10 | ResNet-18, PRIME | .9306 | .8905 |
cifar10 | ResNet-18, RLAT and AugMix | .9475 | .8960 |
cifar10 | ResNet-50, Calian | .9493 | .9217 |
cifar10 | WRN-28-4, NoisyMix | .9673 | .9278 |
cifar10 | WRN-18-2, rewound | .9666 | .9094 | pruned
cifar10 | WRN-18-2, binary | .9487 | .8832 | quantized
cifar10 | CARD deck | .9656 | .9278 | pruned
cifar100 | WRN-40-2, AugMix | .7628 | .6411 |
cifar100 | ResNeXt-29, AugMix | .7890 | .6514 |
cifar100 | ResNet-18, PRIME | .7760 | .6828 |
cifar100 | PARN-18, Addepalli | .6202 | .5177 |
cifar100 | WRN-28-4, NoisyMix | .8116 | .7206 |
cifar100 | WRN-18-2, rewound | .7841 | .6645 | pruned
cifar100 | WRN-18-2, binary | .7769 | .6526 | quantized
cifar100 | CARD deck | .7993 | .7108 | pruned
""",
        "dataset name clean robust compressed",
    )
    .astype(dict(clean=float, robust=float))
    .assign(source="RobustBench, https://robustbench.github.io")
)
