"""How alembic runs here: on the connection that `database.upgrade` hands over, in one transaction."""

from alembic import context

from gateway.sessions.models import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
