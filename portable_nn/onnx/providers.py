"""The execution providers that onnxruntime runs models on, by their short names in ``core.names``."""

from __future__ import annotations

from typing import Any, Final

from portable_nn.core.errors import MissingProviderError, ProviderWarning, UsageError, warn
from portable_nn.core.names import AUTO, PROVIDERS
from portable_nn.core.runtime import runtime
from portable_nn.core.text import either, said, shortened

SUFFIX: Final = "ExecutionProvider"
"""The end of onnxruntime's names."""

REMOTE: Final = "AzureExecutionProvider"
"""A provider that is in every build, and that sends the data elsewhere: never chosen."""


CPU: Final = PROVIDERS["cpu"][0]

COMPILES: Final = "tensorrt"
"""A provider that is never chosen unasked: it compiles a model for minutes."""

RECORD: Final = "session.record_ep_graph_assignment_info"
"""The option with which a session knows what runs each node."""


def short(name: str) -> str:
    """The name of a provider here, for onnxruntime's name of it."""
    known = (ours for ours, (theirs, _) in PROVIDERS.items() if theirs == name)
    return next(known, name.removesuffix(SUFFIX).lower())


def installed() -> dict[str, str]:
    """The providers that the installed onnxruntime was built with, the fastest first: our name and onnxruntime's."""
    return {short(name): name for name in runtime().get_available_providers() if name != REMOTE}


def chosen(provider: str) -> list[str]:
    """onnxruntime's names of what is to be tried, in this order; ``auto`` is all that is installed.

    Raises:
        UsageError: no provider has that name.
        MissingProviderError: the installed onnxruntime was built without it.
    """
    found = installed()
    if provider == AUTO:
        return [name for ours, name in found.items() if ours != COMPILES]
    if provider in found:
        return list(dict.fromkeys([found[provider], CPU]))
    if provider not in PROVIDERS:
        known = either(dict.fromkeys([AUTO, *PROVIDERS, *found]))
        raise UsageError(f"provider must be {known}, not {shortened(provider)}")
    raise MissingProviderError(provider, ", ".join(found), PROVIDERS[provider][1])


def start(source: Any, options: Any, provider: str, where: str) -> Any:
    """onnxruntime's session of a model, on a provider; whatever it raises is raised.

    Warns with ``ProviderWarning`` where a provider does not start, or runs nothing of the model; ``cpu`` then does.
    """
    onnxruntime, wanted = runtime(), chosen(provider)
    if wanted == [CPU]:
        return onnxruntime.InferenceSession(source, options, providers=wanted)
    options.add_session_config_entry(RECORD, "1")
    try:  # Its own way to fall back would print to standard output.
        session = onnxruntime.InferenceSession(source, options, providers=wanted, enable_fallback=0)
    except Exception as error:  # onnxruntime's exceptions have no other class in common.
        session = onnxruntime.InferenceSession(source, options, providers=[CPU])
        warn(
            f"{where}: provider '{short(wanted[0])}' does not start, and cpu runs the model {said(error)}",
            ProviderWarning,
        )
        return session
    found = session.get_providers()
    if lost := [short(name) for name in wanted if name not in found]:
        others = ", ".join(map(short, found))
        warn(
            f"{where}: provider '{lost[0]}' is installed but does not start here; it runs on {others}", ProviderWarning
        )
    elif _runs_nothing(session, wanted[0]):
        warn(f"{where}: provider '{short(wanted[0])}' can run no node of it, and cpu runs all", ProviderWarning)
    return session


def _runs_nothing(session: Any, provider: str) -> bool:
    """True if a provider has got no node of the model, where onnxruntime says that: since 1.24."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return False
    parts = session.get_provider_graph_assignment_info()
    return bool(parts) and not any(part.ep_name == provider for part in parts)
