"""How commands answer and fail: the envelope, the exit codes, and what never reaches a terminal."""

import errno
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from shared.console import Answer, answering, envelope, facts, guarded, printable, progress_console, table
from shared.errors import ConfigError, LinkError, ProtocolError, Refusal, StudyError, WardroundError, WireCode


def run(answer: Callable[[], Answer], *words: str) -> Result:
    """Type `words` to a command that does what `answer` does."""
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    @answering("test.run")
    def command(count: int = 1) -> Answer:
        """Answer."""
        assert count >= 1
        return answer()

    return CliRunner().invoke(app, list(words))


def raising(error: BaseException) -> Callable[[], Answer]:
    def answer() -> Answer:
        raise error

    return answer


ERRORS = [
    ConfigError("The file is wrong.", remedy="Correct it."),
    ProtocolError("The peer speaks protocol 2.", remedy="Install the same wheel."),
    Refusal(WireCode.NO_DATA),
    LinkError("Nobody answers.", remedy="Look at the firewall."),
]


def test_an_answer_for_a_person_is_what_it_shows() -> None:
    done = run(lambda: Answer({"sites": 4}, "Four sites."))
    assert (done.exit_code, done.stdout, done.stderr) == (0, "Four sites.\n", "")


def test_an_answer_for_a_program_is_one_envelope_on_one_line() -> None:
    done = run(lambda: Answer({"sites": 4, "name": "Ä\n"}, "Four sites."), "--json", "--count", "2")
    assert done.stdout.count("\n") == 1
    assert json.loads(done.stdout) == {
        "schema": "wardround.test.run",
        "version": 1,
        "ok": True,
        "data": {"sites": 4, "name": "Ä\n"},
        "error": None,
    }


def test_an_empty_answer_prints_nothing() -> None:
    assert run(Answer).output == ""


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: e.code)
def test_an_error_is_said_once_with_its_remedy_and_its_code(error: WardroundError) -> None:
    done = run(raising(error))
    assert done.exit_code == error.exit_code
    assert done.stdout == ""
    assert " ".join(done.stderr.split()) == f"Error: {error.what} What to do: {error.remedy}"


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: e.code)
def test_an_error_for_a_program_keeps_the_exit_code(error: WardroundError) -> None:
    done = run(raising(error), "--json")
    said = json.loads(done.stdout)
    assert done.exit_code == error.exit_code
    assert (said["ok"], said["data"]) == (False, {})
    assert said["error"] == {"code": error.code, "what": error.what, "remedy": error.remedy}
    assert done.stderr == ""


def test_an_answer_that_is_no_shows_its_facts_and_fails() -> None:
    no = StudyError("2 of 9 cases failed.", remedy="Read the cases.")
    person = run(lambda: Answer({"failed": 2}, "the cases", error=no))
    program = run(lambda: Answer({"failed": 2}, "the cases", error=no), "--json")
    assert person.exit_code == program.exit_code == StudyError.exit_code
    assert person.stdout == "the cases\n"
    assert "2 of 9" in person.stderr
    assert json.loads(program.stdout)["data"] == {"failed": 2}
    assert json.loads(program.stdout)["error"]["code"] == "study"


def test_an_unforeseen_exception_names_its_type_alone() -> None:
    done = run(raising(KeyError("Erika Mustermann")))
    assert done.exit_code == 70
    assert "KeyError" in done.stderr
    assert "Erika" not in done.output
    assert "Traceback" not in done.output


def test_the_traceback_is_there_for_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARDROUND_DEBUG", "1")
    done = run(raising(KeyError("where")))
    assert done.exit_code == 70
    assert "Traceback" in done.stderr


def test_the_keyboard_stops_with_130() -> None:
    assert run(raising(KeyboardInterrupt())).exit_code == 130
    done = run(raising(KeyboardInterrupt()), "--json")
    assert done.exit_code == 130
    assert json.loads(done.stdout)["error"]["code"] == "interrupted"


def test_an_exit_asked_for_stays_as_it_is() -> None:
    assert run(raising(typer.Exit(2))).exit_code == 2


def test_a_wrong_option_is_a_usage_error() -> None:
    done = run(Answer, "--colour")
    assert (done.exit_code, done.stdout) == (2, "")


def test_markup_and_control_characters_stay_text() -> None:
    error = ConfigError("[bold]site[/nonsense] \x1b[2Jsaid\tno", remedy="[red]look[/red]")
    done = run(raising(error))
    assert "[bold]site[/nonsense] \N{REPLACEMENT CHARACTER}[2Jsaid" in done.stderr
    assert "[red]look[/red]" in done.stderr
    assert run(lambda: Answer(shown="[red]x[/oops]")).stdout == "[red]x[/oops]\n"


def test_a_long_error_wraps_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    done = run(raising(ConfigError("word " * 60, remedy="x" * 200)))
    assert max(map(len, done.stderr.splitlines())) <= 80


def test_facts_and_tables_take_plain_text() -> None:
    shown = run(lambda: Answer(shown=facts({"Name": "[b]north[/b]", "Sites": 4}))).stdout
    assert "[b]north[/b]" in shown
    rows = run(lambda: Answer(shown=table(("site", "bytes"), [("north", 12), ("[x]", 3)]))).stdout
    assert [line.split() for line in rows.splitlines()] == [["site", "bytes"], ["north", "12"], ["[x]", "3"]]


def test_printable_keeps_lines_and_letters() -> None:
    assert printable("Köln\nok") == "Köln\nok"
    assert "\x1b" not in printable("\x1b[31m")


def test_the_envelope_refuses_what_json_cannot_say() -> None:
    with pytest.raises(ValueError, match="JSON"):
        envelope("x", Answer({"auroc": math.nan}))
    with pytest.raises(TypeError):
        envelope("x", Answer({"folder": object()}))


def test_the_guard_serves_code_outside_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, guarded("cli", as_json=True):
        raise LinkError("No line.", remedy="Look.")
    assert caught.value.code == LinkError.exit_code
    assert json.loads(capsys.readouterr().out)["schema"] == "wardround.cli"


def test_progress_leaves_stdout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    progress_console().print("round 1")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "round 1\n")


@pytest.mark.parametrize("kind", [PermissionError, IsADirectoryError, NotADirectoryError])
def test_a_path_that_was_named_and_cannot_be_used_is_named_again(tmp_path: Path, kind: type[OSError]) -> None:
    number = {PermissionError: errno.EPERM, IsADirectoryError: errno.EISDIR, NotADirectoryError: errno.ENOTDIR}[kind]
    done = run_on(tmp_path, lambda folder: kind(number, "Not for you", str(folder / "roster.signed")))
    assert done.exit_code == ConfigError.exit_code
    said = json.loads(done.stdout)["error"]
    assert said["what"] == f"{tmp_path} cannot be used (Not for you)."
    assert "mode" in said["remedy"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENAMETOOLONG])
def test_a_file_that_cannot_be_written_is_named_and_not_its_passing_name(tmp_path: Path, number: int) -> None:
    target = tmp_path / "lungs.toml"
    done = run_on(target, lambda file: OSError(number, "No", str(file.parent / ".lungs.toml.x1.part")))
    assert done.exit_code == ConfigError.exit_code
    assert json.loads(done.stdout)["error"]["what"] == f"{target} cannot be used (No)."


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EIO, "Broken", "."), ConnectionRefusedError(111, "Refused"), FileNotFoundError(2, "No", "x")],
)
def test_what_is_no_refusal_of_a_path_stays_unforeseen(error: OSError) -> None:
    assert run_on(Path(), lambda _: error).exit_code == WardroundError.exit_code


def test_another_path_is_not_named(tmp_path: Path) -> None:
    done = run_on(tmp_path, lambda folder: PermissionError(1, "Not for you", "/srv/images/patient.dcm"))
    assert done.exit_code == WardroundError.exit_code
    assert "patient" not in done.stdout


def run_on(folder: Path, failing: Callable[[Path], OSError]) -> Result:
    app = typer.Typer()

    @app.command()
    @answering("test")
    def command(folder: Path) -> Answer:
        raise failing(folder)

    return CliRunner().invoke(app, [str(folder), "--json"])
