package org.sequencelayers;

/** The tensors that belong to a custom layer, while it is being created. */
public final class WeightSource {
  private final long address;

  WeightSource(long address) {
    this.address = address;
  }

  /**
   * A tensor under the layer's own path, sliced where the layer stands inside a {@code Repeat}.
   *
   * @param name such as {@code kernel}, in the collection {@code params}
   * @return a copy, as an array
   * @throws SequenceLayersException {@link Status#WEIGHTS} if there is none
   */
  public Sequence find(String name) {
    return find("params", name);
  }

  /**
   * A tensor of any collection under the layer's own path.
   *
   * @param collection such as {@code batch_stats}
   * @param name such as {@code mean}
   * @return a copy, as an array
   * @throws SequenceLayersException {@link Status#WEIGHTS} if there is none
   */
  public Sequence find(String collection, String name) {
    Struct first = Struct.string(collection);
    Struct second = Struct.string(name);
    Struct view = Sequence.newStruct();
    Calls.check(
        error ->
            Calls.ABI.weightSourceFind(
                address, first.address(), second.address(), view.address(), error),
        first,
        second,
        view);
    return Sequence.copy(view);
  }
}
