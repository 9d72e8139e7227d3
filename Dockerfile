# The default target is the operator; `--target uploader` is the image of the upload Jobs, which holds NVFlare too.
ARG BASE=python:3.11-slim

FROM ${BASE} AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN python3 -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

# What the program needs is installed before the program: an edit of it does not install all that again.
FROM ${BASE} AS base
# USER: kopf asks who it is, and no name belongs to the number that the pods run as.
ENV PATH=/opt/sitelog/bin:$PATH \
    HOME=/tmp \
    USER=sitelog \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /tmp
RUN python3 -m venv /opt/sitelog
COPY pyproject.toml /opt/sitelog/
RUN python -c "import tomllib; project = tomllib.load(open('/opt/sitelog/pyproject.toml', 'rb'))['project']; \
    print(*project['dependencies'], sep='\n')" > /opt/sitelog/operator.txt \
    && pip install --no-cache-dir -r /opt/sitelog/operator.txt

FROM base AS uploader
RUN python -c "import tomllib; project = tomllib.load(open('/opt/sitelog/pyproject.toml', 'rb'))['project']; \
    print(*project['dependencies'], *project['optional-dependencies']['upload'], sep='\n')" > /opt/sitelog/uploader.txt \
    && pip install --no-cache-dir -r /opt/sitelog/uploader.txt
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --no-deps /wheels/sitelog-*.whl
# A number, so that the kubelet can tell that it is not root.
USER 65532:65532
ENTRYPOINT ["sitelog"]

FROM base AS operator
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --no-deps /wheels/sitelog-*.whl
USER 65532:65532
ENTRYPOINT ["sitelog"]
