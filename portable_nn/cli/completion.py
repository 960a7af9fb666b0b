"""``portable-nn completion``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias, get_args

import typer

from portable_nn.cli.completing import FILES, VARIABLE
from portable_nn.cli.printing import Printer
from portable_nn.core.errors import UsageError

Shell: TypeAlias = Literal["bash", "zsh", "fish"]

EXAMPLES = (
    "completion --install",
    "completion bash",
    "completion fish --install",
)

SCRIPTS: Final[dict[Shell, str]] = {
    "bash": f"""\
# Completion of portable-nn for bash.
_portable_nn() {{
    local line current="${{COMP_WORDS[COMP_CWORD]}}" files=
    [ "$current" = "=" ] && current=
    COMPREPLY=()
    while IFS= read -r line; do
        if [ "$line" = "{FILES}" ]; then files=1; elif [ -n "$line" ]; then COMPREPLY+=("$line"); fi
    done < <({VARIABLE}=bash "${{COMP_WORDS[0]}}" "${{COMP_WORDS[@]:1:COMP_CWORD}}" 2>/dev/null)
    if [ -z "$files" ]; then
        compopt +o default 2>/dev/null
    elif [ "${{#COMPREPLY[@]}}" -gt 0 ]; then
        compopt -o filenames 2>/dev/null
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$current")
    fi
}}
complete -o default -F _portable_nn portable-nn
""",
    "zsh": f"""\
#compdef portable-nn
# Completion of portable-nn for zsh.
_portable_nn() {{
    local line files=
    local -a values
    for line in "${{(@f)$({VARIABLE}=zsh "${{words[1]}}" "${{(@Q)words[2,CURRENT]}}" 2>/dev/null)}}"; do
        if [[ "$line" == "{FILES}" ]]; then files=1; elif [[ -n "$line" ]]; then values+=("$line"); fi
    done
    (( $#values )) && _describe 'portable-nn' values
    if [[ -n "$files" ]]; then
        compset -P '--*='
        _files
    fi
}}
(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit }}
if [[ "$funcstack[1]" == "_portable_nn" ]]; then _portable_nn "$@"; else compdef _portable_nn portable-nn; fi
""",
    "fish": f"""\
# Completion of portable-nn for fish.
function __portable_nn
    set -l words (commandline -opc) (commandline -ct)
    for line in ({VARIABLE}=fish command $words[1] $words[2..-1] 2>/dev/null)
        if test "$line" = "{FILES}"
            __fish_complete_path (commandline -ct)
        else
            printf '%s\\n' $line
        end
    end
end
complete -c portable-nn -f -a '(__portable_nn)'
""",
}
"""The script that each shell runs."""


def command(
    printer: Printer,
    shell: Annotated[
        Shell | None, typer.Argument(metavar="[SHELL]", help="bash, zsh or fish; by default that of $SHELL.")
    ] = None,
    install: Annotated[
        bool, typer.Option("--install", help="Write the script to a file, and have the shell read it when it starts.")
    ] = False,
) -> None:
    """Complete commands, options, their values, models and files when Tab is pressed.

    Without --install, the script is printed. With it, the script goes to a file of its own, and ~/.bashrc or ~/.zshrc
    gets a line that reads it, if it has none; fish finds the file by itself.
    """
    chosen = shell or _own_shell()
    script = SCRIPTS[chosen]
    if not install:
        printer.result(script, {"shell": chosen, "script": script, "files": []})
        return
    files = _install(chosen, script)
    text = "".join(f"written {file}\n" for file in files) + f"a new {chosen} completes portable-nn"
    printer.result(text, {"shell": chosen, "script": script, "files": list(map(str, files))})


def _own_shell() -> Shell:
    name = Path(os.environ.get("SHELL", "")).name
    for shell in get_args(Shell):
        if name == shell:
            return shell  # type: ignore[no-any-return]
    found = f"$SHELL is '{name}'" if name else "$SHELL is not set"
    raise UsageError(f"which shell? {found}: name it, {', '.join(get_args(Shell))}")


def _install(shell: Shell, script: str) -> list[Path]:
    """Write the script where the shell finds it; return the files that were written."""
    import shlex

    from portable_nn.core.atomic import write_whole

    home = Path.home()
    if shell == "fish":
        file = _folder("XDG_CONFIG_HOME", home / ".config") / "fish/completions/portable-nn.fish"
    else:
        file = _folder("XDG_DATA_HOME", home / ".local/share") / f"portable-nn/completion.{shell}"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, script.encode())
    if shell == "fish":
        return [file]
    start = home / ".bashrc" if shell == "bash" else _folder("ZDOTDIR", home) / ".zshrc"
    line = f"source {shlex.quote(str(file))}"
    before = start.read_text(encoding="utf-8", errors="surrogateescape") if start.exists() else ""
    if line in before.splitlines():
        return [file]
    with start.open("a", encoding="utf-8") as stream:
        stream.write(("" if before.endswith("\n") or not before else "\n") + line + "\n")
    return [file, start]


def _folder(variable: str, usual: Path) -> Path:
    return Path(os.environ.get(variable) or usual)
