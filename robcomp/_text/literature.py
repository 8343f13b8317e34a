"""What others say: sentences that can be put to the test, and figures to stand beside our own."""
from __future__ import annotations

import pandas as pd


def _table(text: str, names: str) -> pd.DataFrame:
    """A line a row, cells between bars."""
    lines = [[part.strip() for part in line.split("|")] for line in text.strip().splitlines()]
    return pd.DataFrame(lines, columns=names.split())


CLAIMS = _table("""
C1a | CARDs, Diffenderfer et al. 2021, arXiv 2106.09129 | pruning by lottery-ticket rewinding reaches the robustness of the dense network or more
C1b | CARDs, Diffenderfer et al. 2021, arXiv 2106.09129 | pruning with fine-tuning does not: it is less robust than dense
C2a | Lost in Pruning, Liebenwein et al. 2021, arXiv 2103.03014 | pruned networks are hurt out of proportion by corruption: they lose more there than on clean images
C2b | Lost in Pruning, Liebenwein et al. 2021, arXiv 2103.03014 | how much can be pruned depends on the task: some corruption takes more than the average one
C3a | Shen et al. 2024, arXiv 2401.12014 | compressed networks are less robust than dense
C3b | Shen et al. 2024, arXiv 2401.12014 | larger networks lose more by compression, at equal size too
C3c | Shen et al. 2024, arXiv 2401.12014 | distilled networks are more robust than pruned ones
C3d | Shen et al. 2024, arXiv 2401.12014 | of compressions without training, eight bits keep more robustness than pruning
C3e | Shen et al. 2024, arXiv 2401.12014 | eight bits lose little robustness
C3f | Shen et al. 2024, arXiv 2401.12014 | eight bits make about a quarter of the size
C4a | Hooker et al. 2019, arXiv 1911.05248 | at equal accuracy, some classes lose more than others
C4b | Hooker et al. 2019 and 2020, arXiv 1911.05248 and 2010.03058 | at equal accuracy, compressed and dense disagree most on corrupted images
C5a | RobustMQ, Xiao et al. 2023, arXiv 2308.02350 | quantized networks are less robust to natural corruption than dense
C5b | RobustMQ, Xiao et al. 2023, arXiv 2308.02350 | the fewer bits, the less robust
C5c | RobustMQ, Xiao et al. 2023, arXiv 2308.02350 | impulse noise and glass blur harm quantized networks more than the average corruption
C5d | RobustMQ, Xiao et al. 2023, arXiv 2308.02350 | brightness harms them least
C6 | Timpl et al. 2022, arXiv 2206.10915 | robustness falls with capacity and not with sparsity: sparse networks of equal capacity match dense
C7a | Mitra et al. 2024, arXiv 2405.20876 | pruning improves robustness to corruption
C7b | Mitra et al. 2024, arXiv 2405.20876 | pruning improves calibration
C8 | Hoffmann et al. 2021 | unstructured pruning keeps more robustness than distillation
C9 | Holste et al. 2023, arXiv 2308.09180 | pruning forgets rare classes first
C10a | TensorFlow model optimization guide | clustering that quantization-aware training preserves costs no accuracy
C10b | TensorFlow model optimization guide | it makes the int8 file a third smaller or more (3.00 to 1.94 MB)
C10c | TensorFlow model optimization guide | half the weights pruned makes the int8 file 37 % smaller or more
C11 | Shabir et al. 2025 | pruning and int8 make MobileNet 77 % smaller or more
C12 | arXiv 2202.09275 | a Pareto front is random: other test images would draw another one
C13 | arXiv 2511.19794 | with three seeds, differences of a point are never significant
H1a | Alves Da Silva et al. 2025, arXiv 2512.24971 | certain strategies preserve robustness
H1b | Alves Da Silva et al. 2025, arXiv 2512.24971 | certain strategies improve robustness
H1c | the control that arXiv 2512.24971 lacks | some compressed network is more robust than the dense network with the same number of extra epochs
H2 | Alves Da Silva et al. 2025, arXiv 2512.24971 | the more complex the architecture, the better it keeps its robustness
H3a | Alves Da Silva et al. 2025, arXiv 2512.24971 | combinations stand on the front of clean accuracy, robust accuracy and size
H3b | Alves Da Silva et al. 2025, arXiv 2512.24971 | multi-objective assessment chooses a combination
H3c | Alves Da Silva et al. 2025, arXiv 2512.24971 | within a budget of bytes, the best combined recipe is more robust than the best single technique
""", "claim source statement")

PUBLISHED = _table("""
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
""", "dataset name clean robust compressed").astype(dict(clean=float, robust=float)).assign(
    source="RobustBench, https://robustbench.github.io")
