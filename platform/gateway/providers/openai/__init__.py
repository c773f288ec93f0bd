"""Any model API that speaks the OpenAI protocol over HTTP: OpenAI, vLLM, Ollama and others."""

from __future__ import annotations

from gateway.providers.openai.client import OpenAI

__all__ = ["OpenAI"]
