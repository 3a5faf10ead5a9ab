/* Connections that live for one request; see churn.c. */
#ifndef CHURN_H
#define CHURN_H

#include "target.h"

/* Connect and queue one request; the connection flushes when it is writable. */
int churn_start(struct target *target, struct connection *connection,
		uint64_t now_ns);
/* Answers false if it had a full TLS handshake and should have resumed a session. */
bool churn_finish(struct target *target, struct connection *connection);

#endif
