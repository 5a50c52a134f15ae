from lark import UnexpectedInput
from traincheck.dsl.source import Source
from traincheck.errors import RuleError


def explain(source: Source, error: UnexpectedInput) -> RuleError:
    return source.error(str(error), source.position(error.line, error.column))
