"""The public API for type checkers and editors: the names of robcomp.FACE, which are loaded when they are first used."""
from .data import (
    load as load,
    from_folder as from_folder,
    contract_of as contract_of,
    InputContract as InputContract,
    CIFAR_CONTRACT as CIFAR_CONTRACT,
)
from .images import (
    Data as Data,
    Images as Images,
)
from .schema import (
    CORRUPTIONS as CORRUPTIONS,
    STANDARD as STANDARD,
)
from .corruptions import (
    corrupt as corrupt,
    corruption as corruption,
    Suite as Suite,
)
from .models import (
    make_model as make_model,
    model_from as model_from,
    load_weights as load_weights,
    save_weights as save_weights,
    weights_sha256 as weights_sha256,
)
from .schedule import Training as Training
from .training import (
    fit as fit,
    accuracy as accuracy,
)
from .recipe import (
    Recipe as Recipe,
    parse as parse,
    Prune as Prune,
    Cluster as Cluster,
    Quantize as Quantize,
    Tune as Tune,
    Recalibrate as Recalibrate,
    Half as Half,
)
from .compress import (
    compress as compress,
    Artifact as Artifact,
)
from .pack import (
    pack as pack,
    unpack as unpack,
    ledger as ledger,
)
from .footprint import (
    measure as measure,
    latency as latency,
)
from .deploy import (
    export_onnx as export_onnx,
    session as session,
    predict as predict,
    agreement as agreement,
)
from .evaluate import evaluate as evaluate
from .judge import judge as judge
from .elsewhere import (
    from_onnx as from_onnx,
    from_predict as from_predict,
)
from .baseline import Study as Study
from .sweep import (
    sweep as sweep,
    store_status as store_status,
)
from .parameters import check_parameters as check_parameters
from .study import (
    gather_tables as gather_tables,
    write_results as write_results,
)
from .tables import (
    collect as collect,
    read_tables as read_tables,
    write_tables as write_tables,
    join as join,
    find as find,
    Tables as Tables,
    example as example,
)
from .results import summarise as summarise
from .schema import (
    dictionary as dictionary,
    SUMMARY_COLUMNS as SUMMARY_COLUMNS,
)
from .replicates import by_recipe as by_recipe
from .uncertainty import (
    intervals as intervals,
    compare as compare,
    comparisons as comparisons,
)
from .contrasts import contrasts as contrasts
from .goals import Goals as Goals
from .pareto import (
    pareto as pareto,
    knee as knee,
    front_probability as front_probability,
)
from .choice import (
    choose as choose,
    choice_probability as choice_probability,
)
from .charts import (
    enable_charts as enable_charts,
    save_chart as save_chart,
    chart_front as chart_front,
    chart_heat as chart_heat,
    chart_severity as chart_severity,
    chart_differences as chart_differences,
)
from .explorer import explore as explore
from .report import (
    write_report as write_report,
    to_markdown as to_markdown,
    to_latex as to_latex,
)

__version__: str
FACE: dict[str, str]
