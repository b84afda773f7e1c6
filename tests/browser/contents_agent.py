"""An agent that yields one kind of content after the other, for the page to show."""

from agent_framework import Annotation, Content

from hostedagent.testing import ScriptedAgent

SOURCE = Annotation(type="citation", title="The weather service", url="https://weather.example/oslo")
REPORT = {"filename": "report.pdf", "file_id": "file_1", "text": "Bicycles sell well in spring."}
MARKDOWN = """# Figures

| Region | Remark |
|---|---|
| North | Strong in bicycles, weak in helmets because of the long winter, and closed on Sundays |

- [x] counted
- [ ] checked

```python
print(6 * 7)
```
"""
SOUND = Content.from_data(b"RIFF", "audio/wav", name="answer.wav")

agent = ScriptedAgent(
    [
        Content.from_text_reasoning(id="rs_1", text="The user wants a figure."),
        Content.from_code_interpreter_tool_call(call_id="ci_1", inputs=[Content.from_text("print(6 * 7)")]),
        Content.from_code_interpreter_tool_result(call_id="ci_1", outputs=[Content.from_text("42")]),
        Content.from_text("It is **42**.", annotations=[SOURCE]),
    ],
    [Content.from_oauth_consent_request("https://login.consent.azure-apim.net/x")],
    ["You are signed in."],
    [Content.from_function_call("call_1", "open_page", arguments='{"page": "Settings"}')],
    ["The page is open."],
    [
        Content.from_search_tool_call("ws_1", tool_name="web_search", arguments={"query": "bicycles in Oslo"}),
        Content.from_search_tool_result(
            "ws_1",
            tool_name="web_search",
            items=[Content.from_uri("https://bike.example/oslo", media_type="text/html")],
        ),
        Content.from_search_tool_call("fs_1", tool_name="file_search", arguments={"queries": ["bicycles", "helmets"]}),
        Content.from_search_tool_result("fs_1", tool_name="file_search", result=[REPORT]),
        Content.from_text(MARKDOWN),
    ],
    [
        Content.from_function_call("call_2", "speak", arguments="{}"),
        Content.from_function_result(
            "call_2", result=[SOUND, Content.from_data(b"%PDF", "application/pdf", name="a.pdf")]
        ),
        SOUND,
    ],
    name="contents",
)
