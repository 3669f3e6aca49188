# 3.11 is the last Python that complete verification's package exists for.
FROM python:3.11-slim
RUN useradd --create-home --uid 10001 faultline && install -d -o faultline /var/lib/faultline
RUN pip install --no-cache-dir uv
WORKDIR /srv/faultline
# The dependencies are gigabytes: a layer of their own, so that a change of the code does not fetch them again.
COPY pyproject.toml ./
RUN uv pip install --system --no-cache -r pyproject.toml --extra s3 --extra gcs --extra proofs
COPY README.md LICENSE ./
COPY app app
COPY workers workers
COPY templates templates
COPY static static
COPY migrations migrations
COPY demo demo
RUN uv pip install --system --no-cache --no-deps .
USER faultline
ENV FAULTLINE_HOME=/var/lib/faultline PYTHONUNBUFFERED=1
EXPOSE 8400
ENTRYPOINT ["faultline"]
CMD ["serve"]
