"""An agent that yields one kind of content after the other, for the page to show."""

from agent_framework import Annotation, Content

from hostedagent.testing import ScriptedAgent

SOURCE = Annotation(type="citation", title="The weather service", url="https://weather.example/oslo")

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
    ["I have heard it."],
    name="contents",
)
