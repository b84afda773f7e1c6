# The image of samples/foundry and samples/self_hosted. Plain syntax only: the registry's remote build has no BuildKit.
# Foundry runs linux/amd64: docker build --platform linux/amd64 .

FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
# Two environments: what builds stays here, what runs has no pip.
RUN python -m venv /opt/build \
 && python -m venv --without-pip /opt/venv
COPY requirements.lock ./
RUN /opt/build/bin/pip --python /opt/venv/bin/python install \
    --no-compile --only-binary=:all: --require-hashes --requirement requirements.lock

# hostedagent itself, from this checkout.
COPY requirements-build.lock ./
RUN /opt/build/bin/pip install --only-binary=:all: --require-hashes --requirement requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY infra ./infra
COPY src ./src
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && /opt/build/bin/pip --python /opt/venv/bin/python install --no-compile --no-deps --no-index dist/*.whl

WORKDIR /app
COPY samples ./samples
# Without bytecode every start compiles again and takes three times as long.
# "unchecked-hash" holds whatever becomes of the files' times on their way. The agent must compile; of a package, what can.
RUN chmod -R a+rX . \
 && python -m compileall -q --invalidation-mode unchecked-hash . \
 && { python -m compileall -qq -j 0 --invalidation-mode unchecked-hash /opt/venv/lib || true; }

FROM python:3.13-slim
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/home/session \
    PORT=8088
# The base image comes without the bytecode of the standard library.
RUN useradd --uid 10001 --home-dir /home/session --create-home --shell /usr/sbin/nologin agent \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash -x 'site-packages|ensurepip|idlelib|tkinter' \
    "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
WORKDIR /app
USER 10001
EXPOSE 8088
STOPSIGNAL SIGTERM
# For Docker and Podman; Foundry and Container Apps ask /readiness themselves.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-I", "-S", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=3); c.request('GET', '/readiness'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["hostedagent", "run", "--host", "0.0.0.0"]
CMD ["samples/foundry/agent.py"]
