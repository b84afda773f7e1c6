"""LangChain's `create_agent`, with `ChatOpenAI` on the Responses API."""

from driver import main
from langchain.agents import create_agent
from langchain_features import Features

main(Features(create_agent).table())
