from azure.ai.projects import AIProjectClient
from azure.identity import DefaultAzureCredential

endpoint = "https://<account>.services.ai.azure.com/api/projects/<project>"
project = AIProjectClient(endpoint, DefaultAzureCredential(), allow_preview=True)
client = project.get_openai_client(agent_name="<agent>")

print(client.responses.create(input="What is the weather in Oslo?").output_text)
