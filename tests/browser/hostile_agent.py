"""An agent whose answer tries to run code in the page."""

from agent_framework import Agent

from hostedagent.testing import OfflineChatClient

ANSWER = """<script>globalThis.attacked = 1</script><img src=x onerror="globalThis.attacked = 2">
[link](javascript:globalThis.attacked=3) <a href="javascript:globalThis.attacked=4">x</a>
<iframe srcdoc="<script>parent.attacked = 5</script>"></iframe><form action="/responses"><button>go</button></form>
<svg onload="globalThis.attacked = 6"></svg><style>body { display: none }</style> **bold**"""

agent = Agent(OfflineChatClient(script=[ANSWER] * 5), name="hostile")
