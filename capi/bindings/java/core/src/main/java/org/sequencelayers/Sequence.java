package org.sequencelayers;

import java.nio.Buffer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.util.Arrays;
import java.util.Objects;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/**
 * A sequence: values {@code [batch, time, channels...]} and, if wanted, a mask {@code [batch,
 * time]} that is not zero at valid timesteps. Or an array, which is a tensor without time and mask.
 *
 * <p>Values and mask are direct buffers, which the library reads and writes in place: nothing is
 * copied. A sequence is made once and used for many calls; what changes is what its buffers hold.
 * Values at invalid timesteps may be anything. An input without a mask is valid everywhere.
 */
public final class Sequence {
  static final int SIZE = 208;
  private static final int MAX_RANK = 10;
  private static final int DTYPE = 4;
  private static final int RANK = 8;
  private static final int IS_ARRAY = 12;
  private static final int DIMS = 16;
  private static final int STRIDES = 96;
  private static final int DATA = 176;
  private static final int MASK = 184;

  private final DType dtype;
  private final long[] dims;
  private final boolean array;
  private final Buffer values;
  private final ByteBuffer mask;
  private final Struct struct;

  private Sequence(DType dtype, long[] dims, boolean array, Buffer values, ByteBuffer mask) {
    this.dtype = dtype;
    this.dims = dims;
    this.array = array;
    this.values = values;
    this.mask = mask;
    this.struct = new Struct(SIZE);
    shape(struct, dtype, dims, array);
    struct.putLong(DATA, Platform.CURRENT.address(values));
    struct.putLong(MASK, mask == null ? 0 : Platform.CURRENT.address(mask));
  }

  /** A sequence over memory of the library, which lives during a callback. */
  private Sequence(Struct struct) {
    this.struct = struct;
    dtype = DType.of(struct.getInt(DTYPE));
    array = struct.getInt(IS_ARRAY) != 0;
    dims = longs(struct, DIMS);
    values = typed(dtype, Platform.CURRENT.view(struct.getLong(DATA), bytes(dtype, dims)));
    long address = struct.getLong(MASK);
    mask = address == 0 ? null : Platform.CURRENT.view(address, dims[0] * dims[1]);
  }

  /**
   * Allocates a sequence of zeros, without a mask.
   *
   * @param dtype type of the elements
   * @param dims batch, time and channel shape
   * @return the sequence
   */
  public static Sequence allocate(DType dtype, long... dims) {
    checkDims(dims);
    ByteBuffer bytes = ByteBuffer.allocateDirect(Math.toIntExact(bytes(dtype, dims)));
    return new Sequence(dtype, dims.clone(), false, typed(dtype, bytes), null);
  }

  /**
   * Makes a float32 sequence over a buffer, from its position on.
   *
   * @param values a direct buffer in native byte order
   * @param dims batch, time and channel shape
   * @return the sequence
   */
  public static Sequence of(FloatBuffer values, long... dims) {
    check(values, values.order(), DType.FLOAT32, dims);
    return new Sequence(DType.FLOAT32, dims.clone(), false, values.slice(), null);
  }

  /**
   * Makes an int32 sequence over a buffer, from its position on.
   *
   * @param values a direct buffer in native byte order
   * @param dims batch, time and channel shape
   * @return the sequence
   */
  public static Sequence of(IntBuffer values, long... dims) {
    check(values, values.order(), DType.INT32, dims);
    return new Sequence(DType.INT32, dims.clone(), false, values.slice(), null);
  }

  /**
   * Makes a sequence of any dtype over bytes, from their position on.
   *
   * @param dtype type of the elements
   * @param values a direct buffer; its elements are in native byte order, whatever its own says
   * @param dims batch, time and channel shape
   * @return the sequence
   */
  public static Sequence of(DType dtype, ByteBuffer values, long... dims) {
    checkDims(dims);
    checkDirect(values, bytes(dtype, dims));
    return new Sequence(dtype, dims.clone(), false, typed(dtype, values.slice()), null);
  }

  /**
   * Adds a new mask, in which all timesteps are valid.
   *
   * @return a sequence that shares these values
   */
  public Sequence withMask() {
    ByteBuffer valid = ByteBuffer.allocateDirect(Math.toIntExact(timesteps()));
    for (int i = 0; i < valid.capacity(); ++i) {
      valid.put(i, (byte) 1);
    }
    return withMask(valid);
  }

  /**
   * Adds a mask.
   *
   * @param mask a direct buffer with a byte for each timestep, from its position on
   * @return a sequence that shares these values
   */
  public Sequence withMask(ByteBuffer mask) {
    checkDirect(mask, timesteps());
    return new Sequence(dtype, dims, false, values, mask.slice());
  }

  /**
   * Drops the mask: an input is then valid everywhere, and no mask is written for an output.
   *
   * @return a sequence that shares these values
   */
  public Sequence withoutMask() {
    return new Sequence(dtype, dims, array, values, null);
  }

  /**
   * Declares that the first two dimensions are not batch and time, as in constants without time and
   * in weights.
   *
   * @return an array that shares these values
   */
  public Sequence asArray() {
    return new Sequence(dtype, dims, true, values, null);
  }

  /**
   * Type of the elements.
   *
   * @return the dtype
   */
  public DType dtype() {
    return dtype;
  }

  /**
   * Batch, time and channel shape; of an array, its shape.
   *
   * @return a copy
   */
  public long[] dims() {
    return dims.clone();
  }

  /**
   * One of the dimensions.
   *
   * @param axis counted from 0
   * @return the size along it
   */
  public long dim(int axis) {
    return dims[axis];
  }

  /**
   * Whether it is an array.
   *
   * @return true for a tensor without time
   */
  public boolean isArray() {
    return array;
  }

  /**
   * Content of a timestep.
   *
   * @return dtype and channel shape
   */
  public ChannelSpec channelSpec() {
    timesteps();
    return ChannelSpec.of(dtype, Arrays.copyOfRange(dims, 2, dims.length));
  }

  /**
   * The values of a float32 sequence, or the pairs of a complex64 one.
   *
   * @return the buffer itself, in which the first value has the index 0
   */
  public FloatBuffer floats() {
    return buffer(FloatBuffer.class);
  }

  /**
   * The values of an int32 sequence.
   *
   * @return the buffer itself, in which the first value has the index 0
   */
  public IntBuffer ints() {
    return buffer(IntBuffer.class);
  }

  /**
   * The bytes of a sequence of any other dtype.
   *
   * @return the buffer itself
   */
  public ByteBuffer bytes() {
    return buffer(ByteBuffer.class);
  }

  /**
   * The mask.
   *
   * @return the buffer itself, a byte for each timestep; null if there is no mask
   */
  public ByteBuffer mask() {
    return mask;
  }

  @Override
  public String toString() {
    return dtype.configName() + Arrays.toString(dims);
  }

  /** The {@code sl_sequence}. */
  Struct struct() {
    return struct;
  }

  long address() {
    return struct.address();
  }

  static Struct newStruct() {
    return Struct.sized(SIZE);
  }

  /** A sequence over the {@code sl_sequence} that a callback gets. */
  static Sequence view(long address) {
    return new Sequence(new Struct(Platform.CURRENT.view(address, SIZE)));
  }

  /** A new sequence, with a mask, of the shape that a call has written into a struct. */
  static Sequence allocate(Struct shape) {
    return allocate(DType.of(shape.getInt(DTYPE)), longs(shape, DIMS)).withMask();
  }

  /** A copy of a view of a tensor, which may have strides. */
  static Sequence copy(Struct view) {
    Sequence copy = allocate(DType.of(view.getInt(DTYPE)), longs(view, DIMS)).asArray();
    copy.transfer(view, false);
    return copy;
  }

  /** Copies these values into a view of a tensor of the same dtype and shape. */
  void copyTo(Struct view) {
    if (dtype.ordinal() != view.getInt(DTYPE) || !Arrays.equals(dims, longs(view, DIMS))) {
      throw new IllegalArgumentException(
          this
              + " is not "
              + DType.of(view.getInt(DTYPE)).configName()
              + Arrays.toString(longs(view, DIMS)));
    }
    transfer(view, true);
  }

  private void transfer(Struct view, boolean into) {
    long[] strides = longs(view, STRIDES);
    if (Arrays.stream(strides).allMatch(stride -> stride == 0)) {
      strides = contiguous();
    }
    long[] from = into ? contiguous() : strides;
    long[] to = into ? strides : contiguous();
    long own = struct.getLong(DATA);
    long other = view.getLong(DATA);
    if (LongStream.of(dims).allMatch(size -> size > 0)) {
      transfer(0, into ? own : other, from, into ? other : own, to);
    }
  }

  private void transfer(int axis, long from, long[] fromStrides, long to, long[] toStrides) {
    if (axis == dims.length) {
      Platform.CURRENT.view(to, dtype.size()).put(Platform.CURRENT.view(from, dtype.size()));
      return;
    }
    for (long i = 0; i < dims[axis]; ++i) {
      transfer(
          axis + 1, from + i * fromStrides[axis], fromStrides, to + i * toStrides[axis], toStrides);
    }
  }

  /** Strides, in bytes, of contiguous values of this shape. */
  private long[] contiguous() {
    long[] strides = new long[dims.length];
    long stride = dtype.size();
    for (int axis = dims.length - 1; axis >= 0; --axis) {
      strides[axis] = stride;
      stride *= dims[axis];
    }
    return strides;
  }

  private <T extends Buffer> T buffer(Class<T> type) {
    if (!type.isInstance(values)) {
      throw new IllegalStateException(
          "the values of a " + dtype.configName() + " are not of that type");
    }
    return type.cast(values);
  }

  private long timesteps() {
    if (array || dims.length < 2) {
      throw new IllegalStateException(this + " has no batch and time");
    }
    return dims[0] * dims[1];
  }

  private static void shape(Struct struct, DType dtype, long[] dims, boolean array) {
    struct.putInt(0, SIZE).putInt(DTYPE, dtype.ordinal()).putInt(RANK, dims.length);
    struct.putInt(IS_ARRAY, array ? 1 : 0);
    for (int i = 0; i < dims.length; ++i) {
      struct.putLong(DIMS + 8 * i, dims[i]);
    }
  }

  /** As many of the numbers at an offset as the struct's rank says. */
  private static long[] longs(Struct struct, int offset) {
    return IntStream.range(0, struct.getInt(RANK))
        .mapToLong(i -> struct.getLong(offset + 8 * i))
        .toArray();
  }

  private static Buffer typed(DType dtype, ByteBuffer bytes) {
    bytes.order(ByteOrder.nativeOrder());
    return switch (dtype) {
      case FLOAT32, COMPLEX64 -> bytes.asFloatBuffer();
      case INT32 -> bytes.asIntBuffer();
      default -> bytes;
    };
  }

  private static long bytes(DType dtype, long[] dims) {
    return LongStream.of(dims).reduce(dtype.size(), Math::multiplyExact);
  }

  private static void checkDims(long[] dims) {
    if (dims.length > MAX_RANK || LongStream.of(dims).anyMatch(size -> size < 0)) {
      throw new IllegalArgumentException(Arrays.toString(dims) + " is not a shape");
    }
  }

  private static void check(Buffer values, ByteOrder order, DType dtype, long[] dims) {
    checkDims(dims);
    checkDirect(values, bytes(dtype, dims) / dtype.size());
    if (order != ByteOrder.nativeOrder()) {
      throw new IllegalArgumentException("the buffer is not in native byte order");
    }
  }

  private static void checkDirect(Buffer values, long needed) {
    Objects.requireNonNull(values);
    if (!values.isDirect()) {
      throw new IllegalArgumentException("the buffer is not direct");
    }
    if (values.remaining() < needed) {
      throw new IllegalArgumentException(
          "the buffer holds " + values.remaining() + " elements, not " + needed);
    }
  }
}
