package org.sequencelayers;

/**
 * The input steps that can affect an output step, relative to its input step.
 *
 * @param start the first; {@code -Long.MAX_VALUE} if unbounded
 * @param end the last; {@code Long.MAX_VALUE} if unbounded
 */
public record ReceptiveField(long start, long end) {}
