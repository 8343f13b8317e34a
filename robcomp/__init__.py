"""Which compressed version of my CNN should I ship, and what will it do when the camera gets noisy, blurred or wet?

`import robcomp` loads nothing but this file. A name below is loaded when it is first used, as in
`robcomp.collect(folder)`, and `help(robcomp.collect)` then says what each parameter means, as the site does.
nbdev writes the version; everything else in this file is written by hand.
"""
__version__ = "0.1.0"

import inspect as _inspect
import sys as _sys
from importlib import import_module as _import_module
from types import ModuleType as _ModuleType

# The public API: what a user needs, as module.name, in the order of the work; nbs/howto/api.ipynb shows it.
FACE = {
    "data": "data.load data.from_folder data.contract_of images.Data images.Images data.InputContract "
        "data.CIFAR_CONTRACT",
    "corruptions": "schema.CORRUPTIONS schema.STANDARD corruptions.corrupt corruptions.corruption corruptions.Suite",
    "models": "models.make_model models.model_from models.load_weights models.save_weights models.weights_sha256",
    "training": "schedule.Training training.fit training.accuracy",
    "recipe": "recipe.Recipe recipe.parse recipe.Prune recipe.Cluster recipe.Quantize recipe.Tune recipe.Recalibrate "
        "recipe.Half",
    "compress": "compress.compress compress.Artifact",
    "pack": "pack.pack pack.unpack pack.ledger footprint.measure footprint.latency",
    "deploy": "deploy.export_onnx deploy.session deploy.predict deploy.agreement",
    "evaluate": "evaluate.evaluate judge.judge elsewhere.from_onnx elsewhere.from_predict",
    "sweep": "baseline.Study sweep.sweep sweep.store_status parameters.check_parameters study.gather_tables "
        "study.write_results",
    "results": "tables.collect tables.read_tables tables.write_tables tables.join tables.find results.summarise "
        "tables.Tables tables.example schema.dictionary schema.SUMMARY_COLUMNS",
    "uncertainty": "replicates.by_recipe uncertainty.intervals uncertainty.compare uncertainty.comparisons "
        "contrasts.contrasts",
    "pareto": "goals.Goals pareto.pareto choice.choose pareto.knee pareto.front_probability choice.choice_probability",
    "charts": "charts.enable_charts charts.save_chart charts.chart_front charts.chart_heat charts.chart_severity "
        "charts.chart_differences",
    "explore": "explorer.explore",
    "report": "report.write_report report.to_markdown report.to_latex",
}
_HOMES = {name: module for names in FACE.values() for module, name in (word.split(".") for word in names.split())}
_MODULES = {*_HOMES.values()}
__all__ = list(_HOMES)


class _Verb(_ModuleType):
    """A module that holds a function of its own name, and can be called as that function."""

    def __call__(self, *given, **options): return _function(self)(*given, **options)
    def __reduce__(self): return _import_module, (self.__name__,)
    __signature__ = property(lambda self: _inspect.signature(_function(self)))
    __doc__ = property(lambda self: _function(self).__doc__)


def _function(verb): return getattr(verb, verb.__name__.rpartition(".")[2])


class _Package(_ModuleType):
    """The package. When a module is imported, what is public in it is explained, and one that has the name of a public
    function becomes callable."""

    def __setattr__(self, name, value):
        if isinstance(value, _ModuleType) and name in _MODULES:
            for word, home in _HOMES.items():
                if home == name and word in vars(value): _explain(vars(value)[word])
            if _HOMES.get(name) == name: value.__class__ = _Verb
        super().__setattr__(name, value)


def _explain(found):
    if not callable(found): return
    from robcomp._text.parameters import explain
    explain(found)


def __getattr__(name):
    if name not in _HOMES and name not in _MODULES:
        package = _sys.modules[__name__]
        raise AttributeError(f"robcomp has no {name!r}: dir(robcomp) lists what it has", name=name, obj=package)
    module = _import_module(f"{__name__}.{_HOMES.get(name, name)}")
    if name in _MODULES: return module
    globals()[name] = found = getattr(module, name)
    return found


def __dir__(): return [*__all__, "__version__"]


_sys.modules[__name__].__class__ = _Package
