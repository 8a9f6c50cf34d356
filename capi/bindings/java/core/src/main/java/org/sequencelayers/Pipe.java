package org.sequencelayers;

import java.nio.FloatBuffer;
import java.util.function.LongToIntFunction;

/**
 * A front of a stream for audio, which takes any number of frames a call and gives as many: {@code
 * sl_pipe}. It is for models whose input and output are audio: float32, one scalar or a row of
 * channels a step, one output step for each input step. Its thread rules are those of a {@link
 * State}.
 */
public final class Pipe implements AutoCloseable {
  private final Handle handle;
  private final long address;
  private final Exclusive use = new Exclusive();
  private final Struct error = Calls.newError();
  private final int maxFrames;
  private final Planes in;
  private final Planes out;
  private Pipe retired; // has the model of before the last swap

  /** Frames in direct memory, channel after channel, and pointers to the channels. */
  private static final class Planes {
    final FloatBuffer frames;
    final Struct pointers;

    Planes(int channels, int maxFrames) {
      Struct memory = new Struct(Math.multiplyExact(channels * Float.BYTES, maxFrames));
      frames = memory.bytes().asFloatBuffer();
      pointers = new Struct(channels * Long.BYTES);
      for (int i = 0; i < channels; ++i) {
        pointers.putLong(i * Long.BYTES, memory.address() + (long) i * maxFrames * Float.BYTES);
      }
    }
  }

  Pipe(Layer layer, PipeOptions options) {
    Struct struct = options.write();
    handle =
        Handle.under(
            layer.handle(),
            this,
            (parent, out, error) -> Calls.ABI.pipeCreate(parent, struct.address(), out, error),
            Calls.ABI::pipeFree,
            struct);
    address = handle.address();
    maxFrames = options.maxFrames();
    in = new Planes(channels(), maxFrames);
    out = new Planes(channels(), maxFrames);
  }

  /**
   * The number of channels.
   *
   * @return the number of arrays that calls take
   */
  public int channels() {
    return Math.toIntExact(Calls.ABI.pipeHostChannels(address));
  }

  /**
   * The latency, exact at any sizes of calls. It changes with {@link #swap} only.
   *
   * @return frames by which the output is late
   */
  public long latency() {
    use.enter();
    try {
      return Calls.ABI.pipeLatency(address);
    } finally {
      use.exit();
    }
  }

  /**
   * Takes the next frames and writes as many. It allocates nothing.
   *
   * @param input an array for each channel, all of one length
   * @param output as many arrays of that length, which may be those of the input
   * @throws SequenceLayersException the model failed; every call then fails until {@link #reset}
   */
  public void process(float[][] input, float[][] output) {
    use.enter();
    try {
      int frames = input.length == 0 ? 0 : input[0].length;
      checkChannels(input, frames);
      checkChannels(output, frames);
      for (int begin = 0; begin < frames; begin += maxFrames) {
        process(input, output, begin, Math.min(maxFrames, frames - begin));
      }
      dropRetired();
    } finally {
      use.exit();
    }
  }

  private void process(float[][] input, float[][] output, int begin, int size) {
    for (int i = 0; i < input.length; ++i) {
      in.frames.put(i * maxFrames, input[i], begin, size);
    }
    Calls.check(
        Calls.ABI.pipeProcess(
            address, in.pointers.address(), out.pointers.address(), size, error.address()),
        error);
    for (int i = 0; i < output.length; ++i) {
      out.frames.get(i * maxFrames, output[i], begin, size);
    }
  }

  private void checkChannels(float[][] channels, int frames) {
    boolean fits = channels.length == channels();
    for (float[] channel : channels) {
      fits &= channel.length == frames;
    }
    if (!fits) {
      throw new IllegalArgumentException(
          "expected an array for each of " + channels() + " channels, all of one length");
    }
  }

  /**
   * Ends the input.
   *
   * @return what is still to come: {@link #latency} frames of each channel
   */
  public float[][] flush() {
    use.enter();
    try {
      int frames = Math.toIntExact(Calls.ABI.pipeLatency(address));
      float[][] rest = new float[channels()][frames];
      for (int done = 0; done < frames; ) {
        int size = Math.min(maxFrames, frames - done);
        long count = Calls.ABI.pipeFlush(address, out.pointers.address(), size, error.address());
        Calls.check(count < 0 ? error.getInt(4) : 0, error);
        for (int i = 0; i < rest.length; ++i) {
          out.frames.get(i * maxFrames, rest[i], done, (int) count);
        }
        done += (int) count;
      }
      return rest;
    } finally {
      use.exit();
    }
  }

  /** Sets the pipe back to the start of its stream, and ends a cross-fade. */
  public void reset() {
    call(error -> Calls.ABI.pipeReset(address, error));
  }

  /**
   * Sets the share of the input, late by {@link #latency}, in the output.
   *
   * @param dry 0, the model alone, to 1, the input alone
   */
  public void setDry(float dry) {
    call(error -> Calls.ABI.pipeSetDry(address, dry, error));
  }

  /**
   * Exchanges the model for that of another pipe. The old model is heard until the new one has had
   * {@link #latency} frames, and then fades into it.
   *
   * @param next made for the same rate, channels and frames, and at its start; it is closed by this
   * @throws SequenceLayersException it is a pipe of another kind, or a cross-fade has not ended
   */
  public void swap(Pipe next) {
    if (next == this) {
      throw new IllegalArgumentException("a pipe cannot be swapped for itself");
    }
    use.enter();
    try {
      next.use.enter();
      try {
        dropRetired();
        Calls.check(Calls.ABI.pipeSwap(address, next.address, error.address()), error);
      } finally {
        next.use.exit();
      }
      next.use.close();
      handle.exchangeParents(next.handle);
      retired = next;
    } finally {
      use.exit();
    }
  }

  /**
   * Whether the model of before the last {@link #swap} is still heard.
   *
   * @return false also where nothing was swapped
   */
  public boolean isFading() {
    use.enter();
    try {
      return Calls.ABI.pipeIsFading(address) != 0;
    } finally {
      use.exit();
    }
  }

  /** Frees the pipe. Does nothing the second time. */
  @Override
  public void close() {
    if (use.close()) {
      handle.close();
      if (retired != null) {
        retired.handle.close();
      }
    }
  }

  private void dropRetired() {
    if (retired != null && Calls.ABI.pipeIsFading(address) == 0) {
      retired.handle.close();
      retired = null;
    }
  }

  private void call(LongToIntFunction call) {
    use.enter();
    try {
      Calls.check(call.applyAsInt(error.address()), error);
      dropRetired();
    } finally {
      use.exit();
    }
  }
}
