package org.sequencelayers.flink;

import java.io.Serializable;

/**
 * Model and sizes of the operator.
 *
 * @param modelDirectory the model, at the same path on every task manager
 * @param blockSteps input steps of each block: a multiple of the model's block size
 * @param maxLiveSessions maximum of native states that a subtask keeps; others wait, saved, in
 *     Flink's keyed state
 */
public record SessionOptions(String modelDirectory, int blockSteps, int maxLiveSessions)
    implements Serializable {}
