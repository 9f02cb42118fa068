"""Explains mistakes in a command line in one sentence."""

from __future__ import annotations

import difflib
import re

from jsonargparse import ArgumentParser


def explain(parser: ArgumentParser, text: str) -> str | None:
    """Return jsonargparse's error in one sentence; None if its own message is one."""
    unknown = re.match(r"unrecognized arguments: (--[\w.]+)", text)
    if unknown:
        return f"unrecognized arguments: {text.partition(': ')[2]}{_suggestion(parser, unknown[1])}"
    misspelt = re.search(r"(?:Group|Subparser) '([\w.]+)' does not accept (?:nested key|option) '([\w.]+)'", text)
    if misspelt:
        name = f"{misspelt[1]}.{misspelt[2]}"
        return f"a configuration file has {name}, which is no setting{_suggestion(parser, '--' + name)}"
    if text.startswith("Unexpected config"):
        return "--config: the file has no settings by name; it must be YAML such as a run's config.yaml"
    key = re.match(r'Parser key "([\w.]+)"', text)
    if key is None:
        return None
    function = re.search(r"expects a function or a callable class: (.*?)(?:\. Got value.*)?$", text, re.MULTILINE)
    if function:
        return f"--{key[1]}: {function[1]}"
    problem = re.search(r"Problem with given class_path '([\w.]+)':\s+(\S.*)", text)
    if problem:
        return f"--{key[1]}: cannot make {problem[1]}: {problem[2]}"
    reasons = [line.strip() for line in re.findall(r"^ *-? *((?:Expected|Import|Not|No) .*)$", text, re.MULTILINE)]
    reasons = [reason for reason in reasons if not re.match("Expected a (path|<class)", reason)]
    return f"--{key[1]}: {reasons[0]}" if reasons and "Union subtypes" in text else None


def explain_class(text: str) -> str | None:
    """Return the part of an error for a union of types that a class raised; None if there is none."""
    own = re.search(r"^ +- (?!Not a |Expected |Import |Problem )(\S.*)$", text, re.MULTILINE)
    return own[1] if own and text.startswith("Does not validate") else None


def _suggestion(parser: ArgumentParser, unknown: str) -> str:
    """Return "; did you mean ...?" for a mistyped option, by its spelling or its last part."""
    options = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
    by_name = {option.rpartition(".")[2].lstrip("-"): option for option in options}
    name = unknown.rpartition(".")[2].lstrip("-")
    initials = {"".join(word[0] for word in known.split("_")): option for known, option in by_name.items()}
    close = difflib.get_close_matches(unknown, options, 1, 0.8)
    close = close or [by_name[found] for found in difflib.get_close_matches(name, by_name, 1, 0.75)]
    close = close or ([initials[name]] if name in initials else [])
    return f"; did you mean {close[0]}?" if close else ""
