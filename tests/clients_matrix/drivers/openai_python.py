"""`openai` for Python: `responses.create`, `responses.stream` and `responses.parse`."""

import openai
from driver import main
from openai_features import Features

CLIENT = openai.OpenAI(api_key="k", max_retries=0)

main(Features(lambda case: (CLIENT.with_options(base_url=case.url), "any")).table())
