"""One replica of compose.yaml: the agent of samples/hello on PostgreSQL, served by the package's own routes."""

import os

from samples.hello.agent import agent

from hostedagent import AgentHost, postgres_stores

if __name__ == "__main__":
    # `hostedagent migrate` has created the tables.
    stores = postgres_stores(os.environ["HOSTEDAGENT_DSN"], pool_size=4, migrate=False)
    AgentHost(agent, stores=stores, driver="starlette").run()
