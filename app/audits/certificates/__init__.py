"""Certificates: what is proven to stay right, what is broken, and what lies between."""

from app.audits.base import AuditKind, ModelStageSpec, StageSpec
from app.audits.certificates.budgets import passes
from app.audits.certificates.headlines import group_columns, headlines
from app.audits.certificates.page import panels
from app.audits.certificates.page_files import files
from app.audits.certificates.schema import CertificatesSummary, Params
from app.audits.pixels import ALL_FORMATS

AUDIT = AuditKind(
    name="certificates",
    title="Proofs of robustness",
    description=(
        "Proves of audited images that no change of up to ε makes the model wrong, and attacks what cannot be proven: "
        "robust accuracy lies between the two shares, for all images, each class and each slice."
    ),
    params=Params,
    summary=CertificatesSummary,
    model_stages=(
        ModelStageSpec(
            "prove",
            "Prove and attack images",
            2,
            "app.audits.certificates.measure:measure",
            params=("radii", "budget", "images"),
            formats=ALL_FORMATS,
            reads="pixels",
            shard_rows=32,
            slow=True,
        ),
    ),
    stages=(StageSpec("summarise", "Sum up proofs", 1, "app.audits.certificates.summarise:summarise"),),
    by_default=False,
    reads_sentences=False,
    panels=panels,
    files=files,
    headlines=headlines,
    group_columns=group_columns,
    needs_embeddings=False,
    needs_predictions=True,
    passes=passes,
)
