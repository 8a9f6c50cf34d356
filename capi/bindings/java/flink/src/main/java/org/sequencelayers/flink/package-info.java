/**
 * Audio sessions on Apache Flink: each is a keyed stream through a model, whose {@code sl_state}
 * lives in Flink's keyed state. It survives failures exactly once, and moves with its session when
 * the parallelism changes. {@link org.sequencelayers.flink.SessionJob} is a complete job.
 */
package org.sequencelayers.flink;
