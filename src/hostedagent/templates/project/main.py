"""my-agent: what is served, in the same way on your machine and as a hosted agent on Microsoft Foundry."""

#? !offline
import os
#?
import os  #? offline mcp
from typing import Literal  #? tools
#? !offline

#?
#? offline tools

#?
#? offline !tools mcp

#?
from agent_framework import Agent, SupportsChatGetResponse, WorkflowBuilder, tool  #? workflow tools
from agent_framework import Agent, SupportsChatGetResponse, WorkflowBuilder  #? workflow !tools
from agent_framework import Agent, SupportsChatGetResponse, tool  #? !workflow tools
from agent_framework import Agent, SupportsChatGetResponse  #? !workflow !tools
from hostedagent import AgentHost  #? !mcp
from hostedagent import AgentHost, McpTools  #? mcp
from hostedagent.doors import Invocations  #? invocations
from hostedagent.testing import offline_model
from mcp.server.mcpserver import MCPServer  #? mcp

INSTRUCTIONS = "You help the customers of a shop. Answer in one or two sentences."
#? tools

ORDERS = {"A1": "shipped on Monday", "B2": "being packed"}


@tool
def look_up_order(order: Literal["A1", "B2"]) -> str:
    """Look up the state of an order."""
    return ORDERS[order]
#?
#? approvals


@tool(approval_mode="always_require")
def cancel_order(order: Literal["A1", "B2"]) -> str:
    """Cancel an order. The caller is asked first, each time."""
    return f"{order} is cancelled"
#?
#? mcp


shop = MCPServer("shop", log_level="WARNING")


@shop.tool()
async def opening_hours() -> str:
    """Tell when the shop is open."""
    return "Monday to Friday, 9 to 18"


def mcp_tools() -> McpTools:
    """The tools of the MCP server that MCP_URL names, or of the small one above."""
    return McpTools("shop", os.environ.get("MCP_URL") or shop)
#?


def chat_client() -> SupportsChatGetResponse:
    """The model: a deployment in your Foundry project or, where no project is set, a stand-in that works offline."""  #? foundry
    """The model: a deployment of Azure OpenAI or, where no endpoint is set, a stand-in that works offline."""  #? azure
    """The model: OpenAI's or a compatible server's or, where no key is set, a stand-in that works offline."""  #? openai
    """The model: a stand-in that works offline and follows fixed rules. Put your own chat client here."""  #? offline
#? foundry
    endpoint = os.environ.get("FOUNDRY_PROJECT_ENDPOINT")
    if not endpoint:
        return offline_model(missing="FOUNDRY_PROJECT_ENDPOINT")
    from agent_framework.foundry import FoundryChatClient
    from azure.identity.aio import DefaultAzureCredential

    model = os.environ["AZURE_AI_MODEL_DEPLOYMENT_NAME"]
    return FoundryChatClient(project_endpoint=endpoint, model=model, credential=DefaultAzureCredential())
#?
#? azure
    endpoint = os.environ.get("AZURE_OPENAI_ENDPOINT")
    if not endpoint:
        return offline_model(missing="AZURE_OPENAI_ENDPOINT")
    from agent_framework.openai import OpenAIChatClient
    from azure.identity.aio import DefaultAzureCredential

    model = os.environ["AZURE_OPENAI_MODEL"]
    return OpenAIChatClient(model, azure_endpoint=endpoint, credential=DefaultAzureCredential())
#?
#? openai
    key = os.environ.get("OPENAI_API_KEY")
    if not key:
        return offline_model(missing="OPENAI_API_KEY")
    from agent_framework.openai import OpenAIChatCompletionClient

    # OPENAI_BASE_URL names a compatible server. Every one of them speaks Chat Completions.
    return OpenAIChatCompletionClient(os.environ["OPENAI_MODEL"], api_key=key)
#?
    return offline_model(missing="A model")  #? offline
#? !workflow


def build(client: SupportsChatGetResponse) -> Agent:
    """The agent: one for all turns."""
    return Agent(
        client,
        name="my-agent",
        instructions=INSTRUCTIONS,
        tools=[  #? tools
            look_up_order,  #? tools
            cancel_order,  #? approvals
        ],  #? tools
        context_providers=[mcp_tools()],  #? mcp
    )


agent = build(chat_client())
host = AgentHost(agent, doors=[Invocations()])  #? invocations

if __name__ == "__main__":
    AgentHost(agent).run()  #? !invocations
    host.run()  #? invocations
#?
#? workflow


def build(client: SupportsChatGetResponse) -> WorkflowBuilder:
    """The workflow: one agent drafts the answer, a second one edits it."""
    drafter = Agent(
        client,
        name="drafter",
        instructions=INSTRUCTIONS,
        tools=[  #? tools
            look_up_order,  #? tools
            cancel_order,  #? approvals
        ],  #? tools
        context_providers=[mcp_tools()],  #? mcp
    )
    editor = Agent(client, name="editor", instructions="Make the last answer shorter and friendlier.")
    return WorkflowBuilder(
        name="my-agent",
        start_executor=drafter,
        output_from=[editor],
        intermediate_output_from=[drafter],
    ).add_edge(drafter, editor)


client = chat_client()


def create_workflow() -> WorkflowBuilder:
    """A fresh workflow for each turn, for it keeps the state of its run."""
    return build(client)


#? workflow invocations
host = AgentHost(create_workflow, doors=[Invocations()])

#? workflow
if __name__ == "__main__":
    AgentHost(create_workflow).run()  #? !invocations
    host.run()  #? invocations
#?
