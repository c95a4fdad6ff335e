"""Refuse an option that takes one value and is given several: the parser would keep the last and drop the rest."""

from collections import Counter
from typing import Any

import typer
from typer.core import TyperCommand

from scelle.errors import InputError


class OnceCommand(TyperCommand):
    """Take each option that has one value at most once; flags and options to be repeated are left alone."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as usual; raise InputError where an option came again, unless help is asked for."""
        _, _, order = self.make_parser(ctx).parse_args(
            args=list(args)
        )  # it empties the list that it is given
        asked_for_help = any("--help" in parameter.opts for parameter in order)
        for parameter, times in Counter(order).items():
            if times > 1 and takes_one_value(parameter) and not asked_for_help:
                often = "twice" if times == 2 else f"{times} times"
                raise InputError(f"{max(parameter.opts, key=len)} is given {often}: give it once")
        return super().parse_args(ctx, args)


def takes_one_value(parameter: Any) -> bool:
    """Tell whether a parameter of a command is an option with one value."""
    is_option = parameter.param_type_name == "option"
    return is_option and not (parameter.multiple or parameter.is_flag or parameter.count)


def refuse_repeated(app: typer.Typer) -> None:
    """Let every command of `app`, and of its groups, refuse an option that is given again."""
    for command in app.registered_commands:
        command.cls = OnceCommand
    for group in app.registered_groups:
        if group.typer_instance is not None:
            refuse_repeated(group.typer_instance)
