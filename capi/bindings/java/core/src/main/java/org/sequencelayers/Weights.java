package org.sequencelayers;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.BiConsumer;

/**
 * Named tensors: {@code sl_weights}. Names are the reference's variable paths, collection first and
 * joined by dots: {@code params.conv1d.kernel}. Any thread may read them; {@link #add} is for one
 * thread at a time.
 */
public final class Weights implements AutoCloseable {
  private final Handle handle;

  private Weights(long address) {
    handle = new Handle(this, address, Calls.ABI::weightsFree, null);
  }

  /**
   * Makes an empty set.
   *
   * @return the set, to {@link #add} to
   */
  public static Weights create() {
    return new Weights(Calls.make(Calls.ABI::weightsCreate));
  }

  /**
   * Maps the tensors of a safetensors file, which must stay unchanged while the set and the layers
   * made of it live.
   *
   * @param file a regular file
   * @return the set
   */
  public static Weights open(Path file) {
    Struct path = Struct.string(file.toString());
    return new Weights(
        Calls.make((out, error) -> Calls.ABI.weightsOpen(path.address(), out, error), path));
  }

  /**
   * Copies the tensors of a safetensors image in memory.
   *
   * @param image a direct buffer whose remaining bytes are the image
   * @return the set
   */
  public static Weights read(ByteBuffer image) {
    long start = State.position(image);
    return new Weights(
        Calls.make(
            (out, error) -> Calls.ABI.weightsRead(start, image.remaining(), out, error), image));
  }

  /**
   * Adds a copy of a tensor.
   *
   * @param name that no tensor has yet
   * @param tensor its values
   */
  public void add(String name, Sequence tensor) {
    Struct text = Struct.string(name);
    long weights = handle.acquire();
    try {
      Calls.check(
          error -> Calls.ABI.weightsAdd(weights, text.address(), tensor.address(), error),
          text,
          tensor);
    } finally {
      handle.release();
    }
  }

  /**
   * The names of all tensors.
   *
   * @return in order
   */
  public List<String> names() {
    List<String> names = new ArrayList<>();
    each((name, view) -> names.add(name));
    return names;
  }

  /**
   * The tensor of a name.
   *
   * @param name its whole name
   * @return a copy, as an array; empty if there is none
   */
  public Optional<Sequence> find(String name) {
    Sequence[] found = new Sequence[1];
    each(
        (candidate, view) -> {
          if (candidate.equals(name)) {
            found[0] = Sequence.copy(view);
          }
        });
    return Optional.ofNullable(found[0]);
  }

  /**
   * An entry of the file's metadata.
   *
   * @param key its key
   * @return empty if there is none of that key
   */
  public Optional<String> metadata(String key) {
    Struct text = Struct.string(key);
    long weights = handle.acquire();
    try {
      long value = Calls.ABI.weightsMetadata(weights, text.address());
      return Optional.ofNullable(Platform.CURRENT.string(value));
    } finally {
      handle.release();
      Reference.reachabilityFence(text);
    }
  }

  private void each(BiConsumer<String, Struct> consumer) {
    Struct name = new Struct(Long.BYTES);
    Struct view = Sequence.newStruct();
    long weights = handle.acquire();
    try {
      long count = Calls.ABI.weightsTensorCount(weights);
      for (long i = 0; i < count; ++i) {
        long index = i;
        Calls.check(
            error -> Calls.ABI.weightsTensor(weights, index, name.address(), view.address(), error),
            name,
            view);
        consumer.accept(name.getString(0), view);
      }
    } finally {
      handle.release();
    }
  }

  /** Frees the set. Layers made of it live on. Does nothing the second time. */
  @Override
  public void close() {
    handle.close();
  }

  Handle handle() {
    return handle;
  }
}
