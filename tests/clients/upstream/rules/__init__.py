"""The providers' documented rules for a transcript; each check raises with the rule that a request breaks."""

from .anthropic_messages import check_anthropic_messages
from .broken import BrokenRuleError, Ledger
from .chat_completions import check_chat_completions
from .openai_responses import check_openai_responses

__all__ = [
    "BrokenRuleError",
    "Ledger",
    "check_anthropic_messages",
    "check_chat_completions",
    "check_openai_responses",
]
