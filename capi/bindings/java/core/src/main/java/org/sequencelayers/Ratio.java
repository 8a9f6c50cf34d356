package org.sequencelayers;

/**
 * Output steps for each input step, in lowest terms.
 *
 * @param numerator output steps
 * @param denominator input steps
 */
public record Ratio(long numerator, long denominator) {}
