package org.sequencelayers;

import java.util.List;
import java.util.Optional;

/**
 * A constant that a model reads beside its input. Its batch is that of the input.
 *
 * @param name key under which it is given
 * @param kind sequence, array, or either
 * @param layer path of the first layer that reads it
 * @param required false if the model can do without
 * @param streamed whether a stream takes it block by block along with the input
 * @param dtype empty if it is not known
 * @param shape without batch and, for a sequence, time; -1 where a dimension is not known; empty if
 *     the rank is not known
 */
public record ConstantInfo(
    String name,
    Kind kind,
    String layer,
    boolean required,
    boolean streamed,
    Optional<DType> dtype,
    Optional<List<Long>> shape) {
  /** Kinds of constants. */
  public enum Kind {
    /** A sequence or an array. */
    ANY,
    /** Values with time and a mask. */
    SEQUENCE,
    /** Values without time. */
    ARRAY
  }
}
