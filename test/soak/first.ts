import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Begins with the soak, which mostly waits: the other files run beside it, and it is not what the run ends with. */
export default class SoakFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const isSoak = ({ moduleId }: TestSpecification) => moduleId.endsWith('/soak.test.ts')
    return [...sorted.filter(isSoak), ...sorted.filter((file) => !isSoak(file))]
  }
}
