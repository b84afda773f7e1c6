from tests.authorities import few_authorities

__all__ = ["few_authorities"]
