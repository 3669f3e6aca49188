FROM python:3.12-slim
RUN useradd --create-home --uid 10001 faultline && install -d -o faultline /var/lib/faultline
WORKDIR /srv/faultline
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY workers workers
COPY templates templates
COPY static static
COPY migrations migrations
COPY demo demo
RUN pip install --no-cache-dir uv && uv pip install --system --no-cache '.[s3,gcs]'
USER faultline
ENV FAULTLINE_HOME=/var/lib/faultline PYTHONUNBUFFERED=1
EXPOSE 8400
ENTRYPOINT ["faultline"]
CMD ["serve"]
