"""What a command that runs in this process answers."""

from sweeper.cli.main import main


def said(capsys, *arguments):
    """Exit code, output and messages of a command run in this process."""
    code = main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


def wrong(capsys, *arguments):
    """The message for wrong input."""
    code, _, message = said(capsys, *arguments)
    assert code == 2, message
    assert message.startswith("sweeper: error: ")
    assert "Traceback" not in message
    return message.removeprefix("sweeper: error: ").strip()
