"""Arithmetic from text, safely: a walk over the syntax tree of a bounded expression. Nothing is evaluated as code."""

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

EXPRESSION_CHARACTERS = 500
MAX_BITS = 4096
"""Largest integer, in bits: keeps powers and factorials quick."""

MAX_DIGITS = 300
"""Digits that ``round`` takes, to either side; an integer rounded to -10**9 digits would compute for minutes."""

Number = int | float


class CalculatorError(Exception):
    """The expression cannot be evaluated; says why."""


_OPERATORS: dict[type, Callable[[Any, Any], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def _round(value: Number, digits: Number = 0) -> Number:
    if not isinstance(digits, int) or abs(digits) > MAX_DIGITS:
        raise CalculatorError(f"round takes a whole number of digits, at most {MAX_DIGITS}")
    return round(value, digits) if digits else round(value)


_FUNCTIONS: dict[str, Callable[..., Number]] = {
    "abs": abs, "round": _round, "min": min, "max": max, "sqrt": math.sqrt, "exp": math.exp, "log": math.log,
    "log10": math.log10, "log2": math.log2, "sin": math.sin, "cos": math.cos, "tan": math.tan, "floor": math.floor,
    "ceil": math.ceil,
}  # fmt: skip
_NAMES: dict[str, float] = {"pi": math.pi, "e": math.e, "tau": math.tau}


def evaluate(expression: str) -> Number:
    """Return the value of an arithmetic expression.

    Raises:
        CalculatorError: it is too long, too large, not arithmetic or not defined.
    """
    if len(expression) > EXPRESSION_CHARACTERS:
        raise CalculatorError(f"an expression has at most {EXPRESSION_CHARACTERS} characters")
    try:
        tree = ast.parse(expression.strip().replace("^", "**"), mode="eval")
        value = _value(tree.body)
    except SyntaxError as error:
        raise CalculatorError("this is no arithmetic expression") from error
    except ZeroDivisionError as error:
        raise CalculatorError("division by zero") from error
    except (ValueError, TypeError, OverflowError, MemoryError, RecursionError) as error:
        raise CalculatorError(f"the expression has no value: {error}") from error
    if isinstance(value, float) and not math.isfinite(value):
        raise CalculatorError("the result is not a finite number")
    return value


def _value(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return _bounded(value)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(op=ast.Pow(), left=left, right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(op=op, left=left, right=right) if type(op) in _OPERATORS:
            return _bounded(_OPERATORS[type(op)](_value(left), _value(right)))
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            return _bounded(_FUNCTIONS[name](*map(_value, args)))
    raise CalculatorError("only numbers, + - * / // % **, parentheses, pi, e and a few functions are understood")


def _power(base: Number, exponent: Number) -> Number:
    whole = isinstance(base, int) and isinstance(exponent, int)
    if whole and exponent > 0 and int(base).bit_length() * exponent > MAX_BITS:
        raise CalculatorError("the result is too large")
    result = base**exponent
    if isinstance(result, complex):
        raise CalculatorError("the result is not a real number")
    return _bounded(result)


def _bounded(value: Number) -> Number:
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise CalculatorError("a number is too large")
    return value
